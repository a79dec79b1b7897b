package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican/scan"
	"mooring/pkg/goldentest"
)

// keyResults are what the tools of "mooring keys" print as JSON. The tests of the tools read it into these very types, strictly.
func keyResults() map[string]reflect.Type {
	return map[string]reflect.Type{
		"init": reflect.TypeFor[initiated](), "list": reflect.TypeFor[listedKeyring](), "rotate": reflect.TypeFor[rotated](),
		"scan": reflect.TypeFor[scan.Report](), "retire": reflect.TypeFor[retired](), "status": reflect.TypeFor[[]pluginStatus](),
	}
}

// The page is made from the types, and from the comments on their fields.
func TestGoldenKeysJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# What `mooring keys … --output json` prints\n\n<!-- Made from the types by `make generate`. -->\n\n" +
		"One JSON value on the standard output; notes and errors are on the standard error. Times are RFC 3339 in UTC. Fields may be added, so ignore what you do not know.\n")
	r := reference{t: t, comments: map[string]string{}}
	r.read(".")
	r.read(filepath.Join("..", "barbican", "scan"))
	results := keyResults()
	for _, m := range keyTools() {
		flags := pflag.NewFlagSet(m.name, pflag.ContinueOnError)
		m.options.flags(flags)
		if flags.Lookup("output") == nil {
			continue
		}
		fmt.Fprintf(&b, "\n## mooring keys %s\n\n| field | | |\n|---|---|---|\n", m.name)
		if results[m.name] == nil {
			t.Fatalf("what keys %s prints is not known", m.name)
		}
		r.value(&b, "", results[m.name])
	}
	goldentest.Compare(t, filepath.Join("..", "..", "docs", "reference", "keys-json.md"), b.String())
}

// reference documents types.
type reference struct {
	t        *testing.T
	comments map[string]string // by package, type and field: "cli.retired.Keyring"
}

// read collects the comments of a package's structs.
func (r *reference) read(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			r.t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range fields.Fields.List {
				text := strings.Join(strings.Fields(f.Doc.Text()+f.Comment.Text()), " ")
				for _, id := range f.Names {
					r.comments[file.Name.Name+"."+spec.Name.Name+"."+id.Name] = text
				}
			}
			return true
		})
	}
}

// value writes the rows of a type whose place in the result is known.
func (r *reference) value(b *strings.Builder, at string, t reflect.Type) {
	switch {
	case t == reflect.TypeFor[time.Time]():
	case t.Kind() == reflect.Pointer:
		r.value(b, at, t.Elem())
	case t.Kind() == reflect.Slice:
		r.value(b, at+"[]", t.Elem())
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			r.field(b, at, t, &f)
		}
	}
}

func (r *reference) field(b *strings.Builder, at string, in reflect.Type, f *reflect.StructField) {
	tag, tagged := f.Tag.Lookup("json")
	if f.Anonymous && !tagged {
		r.value(b, at, f.Type)
		return
	}
	name, options, _ := strings.Cut(tag, ",")
	text := r.comments[path.Base(in.PkgPath())+"."+in.Name()+"."+f.Name]
	if !tagged || text == "" {
		r.t.Errorf("%s.%s has no name in JSON, or no comment", in, f.Name)
	}
	at = strings.TrimPrefix(at+"."+name, ".")
	kind := kindOf(f.Type)
	if strings.Contains(options, "omitempty") {
		kind += ", or absent"
	} else if f.Type.Kind() == reflect.Pointer {
		kind += ", or null"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s |\n", at, kind, strings.ReplaceAll(text, "|", "\\|"))
	r.value(b, at, f.Type)
}

// kindOf is what JSON has for a type.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return kindOf(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + kindOf(t.Elem()) + "s"
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.String:
		return "string"
	default:
		return "number"
	}
}
