package params

import "strings"

// SnapshotClass is what a VolumeSnapshotClass asks for.
type SnapshotClass struct {
	// Metadata is what csi-snapshotter adds with --extra-create-metadata: which VolumeSnapshot and content a snapshot belongs to.
	Metadata map[string]string
}

// ParseSnapshotClass reads VolumeSnapshotClass parameters, as csi-snapshotter hands them on.
func ParseSnapshotClass(parameters map[string]string) (SnapshotClass, error) {
	c := SnapshotClass{Metadata: map[string]string{}}
	if err := parse(PlaceSnapshotClass, parameters, &c, func(k *key) func(*SnapshotClass, string) error { return k.snapshot }); err != nil {
		return SnapshotClass{}, err
	}
	return c, nil
}

// snapshotKeys are the parameters of a VolumeSnapshotClass.
func snapshotKeys() []key {
	row := func(name, doc string) key {
		return key{name: name, value: "name", fallback: "none", doc: doc, snapshot: func(c *SnapshotClass, v string) error {
			if strings.TrimSpace(v) != "" {
				c.Metadata[name] = v
			}
			return nil
		}}
	}
	return []key{
		row("csi.storage.k8s.io/volumesnapshot/name", "Set by csi-snapshotter with `--extra-create-metadata`; kept in the snapshot's metadata (Manila 2.73)."),
		row("csi.storage.k8s.io/volumesnapshot/namespace", "As above."),
		row("csi.storage.k8s.io/volumesnapshotcontent/name", "As above."),
	}
}
