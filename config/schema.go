package config

import (
	"encoding/json"
	"math"
	"reflect"

	"smi/connectors"
)

// schema is a JSON Schema. Its keys come out sorted, so that the result is
// always the same.
type schema = map[string]any

// Schema is the JSON Schema (draft 2020-12) of the file, for editors. What it
// cannot say, such as whether a secret's file is there, smi config check does.
func Schema(r *connectors.Registry) []byte {
	c := defaults()
	s := structSchema(reflect.ValueOf(c).Elem(), r, false)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of smi"
	s["patternProperties"] = schema{"^x-": true}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps, texts and numbers only
	}
	return append(out, '\n')
}

// structSchema describes a section. partial leaves out what must be given: an
// app takes it from its network.
func structSchema(v reflect.Value, r *connectors.Registry, partial bool) schema {
	props := schema{}
	var must []string
	var never []schema
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if f.kind == kindSecret {
			props[f.key+"_file"] = schema{"type": "string", "minLength": 1, "description": "File that holds: " + f.doc}
			props[f.key+"_env"] = schema{"type": "string", "pattern": envName.String(), "description": "Environment variable that holds: " + f.doc}
			never = append(never, schema{"required": []string{f.key + "_file", f.key + "_env"}})
			continue
		}
		if f.required && fv.IsZero() && !partial {
			must = append(must, f.key)
		}
		p := valueSchema(f, fv, r, partial)
		if f.doc != "" {
			p["description"] = f.about()
		}
		props[f.key] = p
	}
	s := schema{"type": []string{"object", "null"}, "properties": props, "additionalProperties": false}
	if len(must) > 0 {
		s["required"] = must
	}
	if len(never) > 0 {
		s["not"] = schema{"anyOf": never}
	}
	return s
}

func valueSchema(f field, v reflect.Value, r *connectors.Registry, partial bool) schema {
	s := schema{}
	switch f.kind {
	case kindBool:
		s["type"] = "boolean"
		s["default"] = v.Bool()
	case kindInt:
		s["type"] = "integer"
		if lo, hi := f.bounds(); true {
			if lo != math.MinInt64 {
				s["minimum"] = lo
			}
			if hi != math.MaxInt64 {
				s["maximum"] = hi
			}
		}
		s["default"] = v.Interface()
	case kindFloat:
		s["type"] = "number"
		s["default"] = v.Interface()
	case kindDuration:
		s["type"] = []string{"string", "integer"}
		s["pattern"] = "^(0|" + durationForm.String()[1:len(durationForm.String())-1] + ")$"
		s["maximum"] = 0
		s["minimum"] = 0
		s["default"] = flow(f, v)
	case kindSize:
		s["type"] = []string{"string", "integer"}
		s["pattern"] = `^\d+(\.\d+)? ?([kKmMgGtT]i?)?[bB]?$`
		s["minimum"] = 0
		s["default"] = flow(f, v)
	case kindList:
		s["type"] = []string{"array", "null"}
		s["uniqueItems"] = true
		e := f.elem()
		s["items"] = valueSchema(e, reflect.New(e.typ).Elem(), r, partial)
	case kindMap:
		s["type"] = []string{"object", "null"}
		e := f.elem()
		s["additionalProperties"] = valueSchema(e, reflect.New(e.typ).Elem(), r, partial)
	case kindSection:
		return structSchema(v, r, partial)
	case kindNetworks:
		return networksSchema(r)
	default:
		s["type"] = "string"
		if len(f.enum) > 0 {
			s["enum"] = f.enum
		}
		if f.kind == kindURL {
			s["format"] = "uri"
		}
		if text := fieldText(v); text != "" {
			s["default"] = text
		}
	}
	return s
}

// fieldText is the text of a field that is kept as text.
func fieldText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Cron:
		return x.Text
	case Zone:
		return x.Name
	}
	return v.String()
}

func networksSchema(r *connectors.Registry) schema {
	props := schema{}
	if r != nil {
		for _, m := range r.Makers() {
			s := structSchema(newSettings(m).Elem(), r, true)
			app := structSchema(newSettings(m).Elem(), r, true)
			p := s["properties"].(schema) //nolint:forcetypeassert // made by structSchema
			p["enabled"] = schema{"type": "boolean", "default": true, "description": enabledDoc}
			p["apps"] = schema{
				"type": []string{"object", "null"}, "description": appsDoc,
				"propertyNames": schema{"pattern": appName.String()}, "additionalProperties": app,
			}
			s["description"] = title(m)
			props[string(m.Network)] = s
		}
	}
	return schema{"type": []string{"object", "null"}, "properties": props, "additionalProperties": false}
}
