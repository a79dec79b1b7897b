// Package manila is the life of a share in OpenStack Manila: found by its name, created, waited for, opened to its clients,
// deleted until it is gone.
//
// What to do next is decided by a pure function, Next, from what was observed and what is wanted; a small loop observes, asks
// Next and acts. Nothing is kept between calls: a share is found again by its name, so a call that was cut off at any point
// is simply made again.
//
// Errors are sentinels for errors.Is, with Manila's own words around them. Once Manila has accepted a create, every error is
// an ErrPending, too: the share may be there, and the caller has to come back until the end is known.
//
// Shares of the Manila CSI plugin of cloud-provider-openstack (CPO in comments) are taken as they are.
//
// The calls follow Manila's API v2 (api-ref "Shared File Systems API"), statuses manila/common/constants.py.
package manila
