package main

import "maps"

// What the figures of each suite have to keep, by name, in units of theirs. A figure that is not here is for the eye alone.
// docs/reference/sizing-and-limits.md says the same.

func csiLimits() map[string]limit {
	return map[string]limit{
		"csi.create_nfs.calls":                  atMost(3),
		"csi.create_cephfs.calls":               atMost(4),
		"csi.create_100_parallel.calls":         atMost(330),
		"csi.create_100_parallel.logins":        atMost(1),
		"csi.create_100_parallel_cephfs.calls":  atMost(430),
		"csi.create_100_parallel_cephfs.logins": atMost(1),
		"csi.delete.calls":                      atMost(3),
		"csi.ready_1500ms_noticed.seconds":      atMost(0.5),
		"csi.stage_nfs.calls":                   exactly(0),
		"csi.stage_cephfs.calls":                atMost(1),
		"csi.stage_30_parallel.seconds":         atMost(0.5),
		"csi.controller_2000_volumes.rss_mib":   atMost(80),
	}
}

func kmsLimits() map[string]limit {
	return map[string]limit{
		"kms.warm_ops.barbican_calls":               exactly(0),
		"kms.encrypt.p50_over_status":               atMost(1.4),
		"kms.decrypt.p50_over_status":               atMost(1.4),
		"kms.encrypt_64.p50_over_status_64":         atMost(1.4),
		"kms.decrypt_64.p50_over_status_64":         atMost(1.4),
		"kms.load_64.rss_mib":                       atMost(60),
		"kms.idle.calls_per_poll":                   atMost(1),
		"kms.idle.rss_mib":                          atMost(40),
		"kms.restart_in_outage.answer_p50_ms":       atMost(50),
		"kms.restart_in_outage.first_serve_seconds": atMost(2),
	}
}

// scanLimits hold for any number of objects: what a scan keeps of one is nothing.
func scanLimits(objects int) map[string]limit {
	name := scanName(objects)
	return map[string]limit{
		name + ".rss_mib":          atMost(100),
		name + "_snapshot.rss_mib": atMost(100),
	}
}

func dnsLimits() map[string]limit {
	return map[string]limit{
		"dns.idle_1k.calls":        exactly(1),
		"dns.idle_10k.calls":       exactly(1),
		"dns.idle_100k.calls":      exactly(1),
		"dns.idle_200_zones.calls": exactly(1),
		"dns.cold_10k.calls":       atMost(12),
		"dns.records_warm_10k.ms":  atMost(150),
		"dns.rss_10k.mib":          atMost(50),
		"dns.rss_100k.mib":         atMost(250),
		"dns.create_200.calls":     atMost(202), // one for each record, and two
		"dns.create_200.seconds":   atMost(12),
		"dns.poison.done_of_199":   atLeast(199),
	}
}

// limits are those of all suites.
func limits(suites []suite) map[string]limit {
	all := map[string]limit{}
	for _, s := range suites {
		maps.Copy(all, s.limits)
	}
	return all
}
