package openstacksim

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// floatingIP is a floating IP that Neutron would tell Designate of, and its PTR.
type floatingIP struct {
	project, region, id string
	address             netip.Addr
	description         *string
	ptr                 *dnsRecordset // nil without one
}

// AddFloatingIP gives a project a floating IPv4 address that leads nowhere, and returns its key in Designate: "region:id".
func (d *Designate) AddFloatingIP(projectName, address string) string {
	return Region + ":" + d.cloud.Neutron.AddFloatingIP(projectName, address, "", "")
}

// addFloatingIP lets Designate know of an address that Neutron has.
func (d *Designate) addFloatingIP(project, id string, address netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fips = append(d.fips, &floatingIP{project: project, region: Region, id: id, address: address})
}

func (f *floatingIP) key() string { return f.region + ":" + f.id }

func (d *Designate) fipView(f *floatingIP) map[string]any {
	v := map[string]any{
		"id": f.key(), "address": f.address.String(), "ptrdname": nil, "ttl": nil, "description": nil, "action": "NONE", "status": "INACTIVE",
		"links": map[string]any{"self": d.base() + "/v2/reverse/floatingips/" + f.key()},
	}
	if f.ptr != nil {
		v["ptrdname"], v["description"], v["action"], v["status"] = f.ptr.records[0], f.description, f.ptr.action, f.ptr.status
		if v["ttl"] = f.ptr.zone.ttl; f.ptr.ttl != nil {
			v["ttl"] = *f.ptr.ttl
		}
	}
	return v
}

// noNetwork is what a cloud without Neutron answers: Designate asks that for the floating IPs.
func (d *Designate) noNetwork() error {
	if d.cloud.Keystone.hides("network") {
		return &designateError{403, "no_endpoint", "", nil}
	}
	return nil
}

func (d *Designate) listFloatingIPs(w *reply, r *request) error {
	if err := d.noNetwork(); err != nil {
		return err
	}
	list := []any{}
	for _, f := range d.fips {
		if f.project == r.project {
			list = append(list, d.fipView(f))
		}
	}
	w.json(http.StatusOK, map[string]any{
		"floatingips": list, "links": map[string]any{"self": d.base() + "/v2/reverse/floatingips"}, "metadata": map[string]any{"total_count": len(list)},
	})
	return nil
}

func (d *Designate) fip(r *request) (*floatingIP, error) {
	if err := d.noNetwork(); err != nil {
		return nil, err
	}
	key := r.PathValue("fip")
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`).MatchString(key) {
		return nil, badRequest(fmt.Sprintf("Floating IP %s is not in the format of <region>:<uuid>", key))
	}
	i := slices.IndexFunc(d.fips, func(f *floatingIP) bool { return f.project == r.project && f.key() == key })
	if i < 0 {
		region, id, _ := strings.Cut(key, ":")
		return nil, &designateError{404, "not_found", fmt.Sprintf("FloatingIP %s in %s is not associated for project %q", id, region, r.project), nil}
	}
	return d.fips[i], nil
}

func (d *Designate) getFloatingIP(w *reply, r *request) error {
	f, err := d.fip(r)
	if err != nil {
		return err
	}
	w.json(http.StatusOK, d.fipView(f))
	return nil
}

func (d *Designate) patchFloatingIP(w *reply, r *request) error {
	var b struct {
		PTR         *string `json:"ptrdname"`
		Description *string `json:"description"`
		TTL         *int    `json:"ttl"`
	}
	if err := decodeObject(r, &b, "floatingip", "id description address ptrdname ttl action status", "ptrdname description ttl"); err != nil {
		return err
	}
	f, err := d.fip(r)
	if err != nil {
		return err
	}
	if b.PTR == nil {
		return d.unsetPTR(w, f)
	}
	if complaint := domainField(*b.PTR); complaint != "" {
		return invalidField("%s", complaint)
	}
	f.description = b.Description
	d.setPTR(f, *b.PTR, b.TTL)
	view := d.fipView(f)
	view["status"] = "PENDING"
	w.json(http.StatusAccepted, view)
	return nil
}

// setPTR writes the record into the reverse zone, which belongs to the cloud and is made when it is missing.
func (d *Designate) setPTR(f *floatingIP, target string, ttl *int) {
	octets := f.address.As4()
	zoneName := fmt.Sprintf("%d.%d.%d.in-addr.arpa.", octets[2], octets[1], octets[0])
	i := slices.IndexFunc(d.zones, func(z *dnsZone) bool { return z.name == zoneName })
	if i < 0 {
		email := designateManagedEmail
		d.newZone(designateManagedProject, zoneName, "PRIMARY", zoneBody{Email: &email})
		i = len(d.zones) - 1
	}
	z := d.zones[i]
	if f.ptr == nil {
		f.ptr = &dnsRecordset{name: fmt.Sprintf("%d.%s", octets[3], zoneName), kind: "PTR", managed: true}
		d.insert(z, f.ptr)
	}
	f.ptr.records, f.ptr.ttl, f.ptr.status = []string{target}, ttl, "PENDING"
	z.dirty[f.ptr.key()] = true
	d.touch(z)
	d.publish(z)
}

func (d *Designate) unsetPTR(w *reply, f *floatingIP) error {
	if f.ptr == nil {
		return &designateError{404, "not_found", "No such FloatingIP " + f.key(), nil}
	}
	z := f.ptr.zone
	d.removeSet(f.ptr)
	f.ptr, f.description = nil, nil
	d.touch(z)
	d.publish(z)
	w.json(http.StatusAccepted, nil)
	return nil
}
