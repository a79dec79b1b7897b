package mount

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	mountutils "k8s.io/mount-utils"
)

// mountInfo is the table of the mounts that this process sees, see proc(5).
const mountInfo = "/proc/self/mountinfo"

// readTable reads the mount table until it is the same twice: kernels before 5.8 leave out mounts when the table changes meanwhile.
func readTable() ([]byte, error) {
	const most = 8
	var last []byte
	for range most {
		content, err := os.ReadFile(mountInfo)
		if err != nil {
			return nil, err
		}
		if last != nil && bytes.Equal(content, last) {
			break
		}
		last = content
	}
	return last, nil
}

// parseTable reads a mount table. mount-utils has a parser, too, but that one leaves paths with blanks escaped, so that they are
// never found, and refuses the whole table when anybody on the node has mounted something whose source is the empty string.
func parseTable(content string) ([]mountutils.MountInfo, error) {
	var table []mountutils.MountInfo
	for line := range strings.Lines(content) {
		entry, err := parseMount(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		table = append(table, entry)
	}
	return table, nil
}

// parseMount reads one line: id, parent, major:minor, root, mount point, options, optional fields, "-", type, source, options of the
// file system. A field may be empty.
func parseMount(line string) (mountutils.MountInfo, error) {
	const before, after = 6, 3 // fields on the sides of the optional ones
	fields := strings.Split(line, " ")
	dash := slices.Index(fields, "-")
	if dash < before || len(fields)-dash-1 < after {
		return mountutils.MountInfo{}, fmt.Errorf("%d fields are too few", len(fields))
	}
	major, minor, _ := strings.Cut(fields[2], ":")
	var numbers []int
	for _, s := range []string{fields[0], fields[1], major, minor} {
		n, err := strconv.Atoi(s)
		if err != nil {
			return mountutils.MountInfo{}, fmt.Errorf("%q is no number", s)
		}
		numbers = append(numbers, n)
	}
	return mountutils.MountInfo{
		ID: numbers[0], ParentID: numbers[1], Major: numbers[2], Minor: numbers[3],
		Root: unescape(fields[3]), MountPoint: unescape(fields[4]), MountOptions: strings.Split(fields[5], ","), OptionalFields: fields[before:dash],
		FsType: unescape(fields[dash+1]), Source: unescape(fields[dash+2]), SuperOptions: strings.Split(fields[dash+3], ","),
	}, nil
}

// unescape undoes what the kernel does to blanks, tabs, newlines, backslashes and hashes: three octal digits after a backslash.
func unescape(s string) string {
	const digits = 3
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || len(s)-i <= digits {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		if c, err := strconv.ParseUint(s[i+1:i+1+digits], 8, 8); err == nil {
			b.WriteByte(byte(c))
			s = s[i+1+digits:]
			continue
		}
		b.WriteByte('\\')
		s = s[i+1:]
	}
}

// inherited are the flags of the options of one mount, and not of its file system, that a bind takes over and a remount would reset.
func inherited(options []string) (flags uintptr) {
	for _, o := range options {
		switch o {
		case "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime":
			flags |= flagOptions()[o].set
		}
	}
	return flags
}
