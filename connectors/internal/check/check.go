// Package check collects what connectors find wrong with a part.
package check

import (
	"fmt"
	"strings"

	"smi/connectors"
	"smi/internal/social"
)

// Problems are what was found, in order. The zero value holds none.
type Problems struct{ Found []social.Problem }

// Say adds a problem and returns it, so that a limit and a value can be put into
// it at once; the next one may move it.
func (p *Problems) Say(s social.Severity, field, format string, args ...any) *social.Problem {
	p.Found = append(p.Found, social.Problem{Field: field, Severity: s, Text: fmt.Sprintf(format, args...)})
	return &p.Found[len(p.Found)-1]
}

// Refuse adds a problem with which the part is not published.
func (p *Problems) Refuse(field, format string, args ...any) *social.Problem {
	return p.Say(social.Refused, field, format, args...)
}

// Over refuses a value that is past a limit.
func (p *Problems) Over(field string, limit, value int64, format string, args ...any) {
	if value > limit {
		found := p.Refuse(field, format, args...)
		found.Limit, found.Value = limit, value
	}
}

// Options lists the keys of options, for who gave another.
func Options(all []connectors.OptionDoc) string {
	keys := make([]string, 0, len(all))
	for _, o := range all {
		keys = append(keys, o.Key)
	}
	return strings.Join(keys, ", ")
}
