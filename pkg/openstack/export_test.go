package openstack

import "time"

// Patient is the options with which one login is all, however slow the machine is.
func (o Options) Patient() Options {
	o.patience = time.Hour
	return o
}
