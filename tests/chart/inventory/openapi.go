package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// API is as much of a server's OpenAPI v3 documents as some kinds need.
type API struct {
	fetch  func(path string) ([]byte, error)
	record struct {
		Server      string                     `json:"server"`      // its version
		Kinds       map[string]string          `json:"kinds"`       // definitions, by "apps/v1 Deployment"
		Definitions map[string]json.RawMessage `json:"definitions"` // schemas, by the names that others have for them
	}
	schemas map[string]*spec.Schema // of the kinds
}

// NewAPI is of a server of a version that answers to fetch, with paths such as /openapi/v3/apis/apps/v1.
func NewAPI(version string, fetch func(path string) ([]byte, error)) *API {
	api := &API{fetch: fetch}
	api.record.Server, api.record.Kinds, api.record.Definitions = version, map[string]string{}, map[string]json.RawMessage{}
	return api
}

// prefix is what a schema says before the name of another one.
const prefix = "#/components/schemas/"

func kindName(kind schema.GroupVersionKind) string {
	return kind.GroupVersion().String() + " " + kind.Kind
}

// Load reads what String made, to validate with it.
func Load(file string) (*API, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	api := &API{schemas: map[string]*spec.Schema{}}
	if err := json.Unmarshal(data, &api.record); err != nil {
		return nil, err
	}
	for kind, name := range api.record.Kinds {
		schema, err := api.closed(spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(prefix + name)}})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		api.schemas[kind] = &schema
	}
	return api, nil
}

// String is JSON, with a line for each definition.
func (a *API) String() string {
	var out bytes.Buffer
	kinds, _ := json.MarshalIndent(a.record.Kinds, " ", "  ") //nolint:errchkjson // a map of strings
	fmt.Fprintf(&out, "{\n \"server\": %q,\n \"kinds\": %s,\n \"definitions\": {", a.record.Server, kinds)
	for i, name := range Sorted(a.record.Definitions) {
		fmt.Fprintf(&out, "%s\n  %q: %s", strings.Repeat(",", min(i, 1)), name, a.record.Definitions[name])
	}
	out.WriteString("\n }\n}\n")
	return out.String()
}

// Record takes the definition of a kind from the server, and those that it needs.
func (a *API) Record(kind schema.GroupVersionKind) error {
	if a.record.Kinds[kindName(kind)] != "" {
		return nil
	}
	path := "/openapi/v3/apis/" + kind.GroupVersion().String()
	if kind.Group == "" {
		path = "/openapi/v3/api/" + kind.Version
	}
	data, err := a.fetch(path)
	if err != nil {
		return err
	}
	var document struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, definition := range document.Components.Schemas {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 { // others, such as DeleteOptions, are in all groups
			continue
		}
		if of, _ := kinds[0].(map[string]any); of["group"] == kind.Group && of["version"] == kind.Version && of["kind"] == kind.Kind {
			a.record.Kinds[kindName(kind)] = name
			return a.take(name, document.Components.Schemas)
		}
	}
	return fmt.Errorf("%s has no %s", path, kind.Kind)
}

func (a *API) take(name string, from map[string]map[string]any) error {
	if a.record.Definitions[name] != nil {
		return nil
	}
	definition, ok := from[name]
	if !ok {
		return fmt.Errorf("there is no definition %s", name)
	}
	needs := prune(definition)
	data, err := json.Marshal(definition)
	if err != nil {
		return err
	}
	a.record.Definitions[name] = data
	for _, other := range needs {
		if err := a.take(other, from); err != nil {
			return err
		}
	}
	return nil
}

// prune drops from a schema what does not tell what is valid, and returns the names of those that it refers to.
func prune(schema map[string]any) (needs []string) {
	for key := range schema {
		if slices.Contains([]string{"description", "default", "x-kubernetes-group-version-kind", "x-kubernetes-validations"}, key) ||
			strings.HasPrefix(key, "x-kubernetes-list-") || strings.HasPrefix(key, "x-kubernetes-patch-") || key == "x-kubernetes-map-type" || key == "x-kubernetes-unions" {
			delete(schema, key)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		needs = append(needs, strings.TrimPrefix(ref, prefix))
	}
	for _, key := range []string{"items", "additionalProperties", "not"} {
		if inner, ok := schema[key].(map[string]any); ok {
			needs = append(needs, prune(inner)...)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := schema[key].([]any)
		for _, one := range list {
			if inner, ok := one.(map[string]any); ok {
				needs = append(needs, prune(inner)...)
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any) // their names may be any of the above
	for _, property := range properties {
		if inner, ok := property.(map[string]any); ok {
			needs = append(needs, prune(inner)...)
		}
	}
	return needs
}

// Validate says what is wrong with an object. As the server does when it is strict, it refuses fields that it does not know.
func (a *API) Validate(object *unstructured.Unstructured) error {
	schema, ok := a.schemas[kindName(object.GroupVersionKind())]
	if !ok {
		return fmt.Errorf("%s %q: the server was not asked about this kind", kindName(object.GroupVersionKind()), object.GetName())
	}
	if result := validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(object.Object); result.HasErrors() {
		return fmt.Errorf("%s %q: %w", object.GetKind(), object.GetName(), errors.Join(result.Errors...))
	}
	return nil
}

// closed is a schema with what it refers to in its place, that takes no other properties than those that it tells.
func (a *API) closed(s spec.Schema) (spec.Schema, error) {
	if len(s.AllOf) == 1 && s.AllOf[0].Ref.String() != "" { // how a reference is written that has a default beside it
		s = s.AllOf[0]
	}
	if ref := s.Ref.String(); ref != "" {
		var definition spec.Schema
		if err := json.Unmarshal(a.record.Definitions[strings.TrimPrefix(ref, prefix)], &definition); err != nil {
			return s, fmt.Errorf("%s: %w", ref, err)
		}
		return a.closed(definition)
	}
	if s.Format == "int-or-string" { // its oneOf says so, too; the library takes the format for a string's
		s.Format = ""
	}
	var err error
	for name, property := range s.Properties {
		if s.Properties[name], err = a.closed(property); err != nil {
			return s, err
		}
	}
	for _, inner := range within(&s) {
		if *inner, err = a.closed(*inner); err != nil {
			return s, err
		}
	}
	if keeps, _ := s.Extensions.GetBool("x-kubernetes-preserve-unknown-fields"); len(s.Properties) > 0 && s.AdditionalProperties == nil && !keeps {
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: false}
	}
	return s, nil
}

// within are the schemas of a list's items, or of a map's values.
func within(s *spec.Schema) (all []*spec.Schema) {
	if s.Items != nil && s.Items.Schema != nil {
		all = append(all, s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		all = append(all, s.AdditionalProperties.Schema)
	}
	return all
}
