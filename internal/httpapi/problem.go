package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"smi/internal/app"
	"smi/internal/social"
)

// Problem is every answer that is not a success (RFC 9457), with the code to
// act on, the field that is wrong, and one sentence that names the cure.
type Problem struct {
	Type   string        `json:"type" doc:"always about:blank: code says what to do"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Code   social.Code   `json:"code" enum:"invalid,not_found,conflict,forbidden,unavailable,exhausted,internal,unsupported,remote_error"`
	Field  string        `json:"field,omitempty" doc:"the request's field, e.g. parts[1].text"`
	Detail string        `json:"detail" doc:"one sentence that names the trouble and the cure"`
	Errors []ProblemItem `json:"errors,omitempty" doc:"all that is wrong, where it is more than one thing"`
}

// ProblemItem is one of several things that are wrong.
type ProblemItem struct {
	Field   string `json:"field,omitempty"`
	Account string `json:"account,omitempty"`
	Detail  string `json:"detail"`
}

// Error is the detail with its field.
func (p *Problem) Error() string {
	if len(p.Errors) > 1 {
		var lines []string
		for _, e := range p.Errors {
			lines = append(lines, e.line())
		}
		return strings.Join(lines, "\n")
	}
	if len(p.Errors) == 1 {
		return p.Errors[0].line()
	}
	return ProblemItem{Field: p.Field, Detail: p.Detail}.line()
}

func (e ProblemItem) line() string {
	s := e.Detail
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Account != "" {
		s = e.Account + ": " + s
	}
	return s
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses maps what went wrong to HTTP, here and nowhere else.
var statuses = map[social.Code]int{
	social.CodeInvalid:     http.StatusUnprocessableEntity,
	social.CodeNotFound:    http.StatusNotFound,
	social.CodeConflict:    http.StatusConflict,
	social.CodeForbidden:   http.StatusForbidden,
	social.CodeUnavailable: http.StatusServiceUnavailable,
	social.CodeExhausted:   http.StatusInsufficientStorage,
	social.CodeInternal:    http.StatusInternalServerError,
	social.CodeUnsupported: http.StatusUnprocessableEntity,
	social.CodeRemote:      http.StatusBadGateway,
}

// problemOf turns an error into what the caller is told. What is not meant for
// callers stays out of it: the second result is true if the log needs the
// error.
func problemOf(err error) (*Problem, bool) {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p, false
	}
	if e, ok := errors.AsType[*app.RefusedError](err); ok {
		p := newProblem(e.Code(), "", "the post cannot be planned as it is")
		for _, f := range e.Findings {
			p.Errors = append(p.Errors, ProblemItem{Field: f.Field, Account: f.Account, Detail: f.Text})
		}
		if len(e.Findings) > 0 {
			p.Field, p.Detail = e.Findings[0].Field, e.Findings[0].Text
		}
		return p, false
	}
	if e, ok := errors.AsType[*social.Error](err); ok {
		return newProblem(e.Code, e.Field, e.Text), e.Code == social.CodeInternal || e.Code == social.CodeExhausted
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return newProblem(social.CodeUnavailable, "", "this took too long and was given up; try again"), false
	}
	return newProblem(social.CodeInternal, "", "something went wrong inside smi; the log of the daemon says what"), true
}

func newProblem(code social.Code, field, detail string) *Problem {
	status := statuses[code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Field: field, Detail: detail}
}

// useProblems makes huma's own errors (a body that is no JSON, a missing field)
// Problems too. The hook is the library's, one for the process.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := newProblem(codeOf(status), "", msg)
		p.Status, p.Title = status, http.StatusText(status)
		for _, err := range errs {
			var d huma.ErrorDetailer
			if !errors.As(err, &d) {
				if status < http.StatusInternalServerError && err != nil {
					p.Errors = append(p.Errors, ProblemItem{Detail: err.Error()})
				}
				continue
			}
			detail := d.ErrorDetail()
			p.Errors = append(p.Errors, ProblemItem{Field: fieldName(detail.Location), Detail: plain(detail.Message)})
		}
		if len(p.Errors) > 0 {
			p.Field, p.Detail = p.Errors[0].Field, p.Errors[0].Detail
		}
		return p
	}
})

func codeOf(status int) social.Code {
	switch {
	case status == http.StatusNotFound:
		return social.CodeNotFound
	case status == http.StatusConflict:
		return social.CodeConflict
	case status == http.StatusForbidden:
		return social.CodeForbidden
	case status < http.StatusInternalServerError:
		return social.CodeInvalid
	}
	return social.CodeInternal
}

// fieldName is a place in a request as its author wrote it.
func fieldName(location string) string {
	for _, prefix := range []string{"body.", "query.", "path.", "header."} {
		if f, ok := strings.CutPrefix(location, prefix); ok {
			return f
		}
	}
	if location == "body" {
		return ""
	}
	return location
}

// plain adds the cure where the library names only the trouble.
func plain(message string) string {
	switch message {
	case "unexpected property":
		return "there is no such field; smi openapi lists the fields"
	}
	return message
}
