package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"smi/internal/app"
	"smi/internal/social"
)

// upload registers the media upload: the file is the body, and it is streamed.
// huma would read a body into memory, so the handler is a plain one; the
// description is huma's all the same.
func (a *API) upload() {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[social.Media](), true, "Media")
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "media-add", Method: http.MethodPost, Path: mediaPath, Summary: "Store a file; the same bytes twice are one file",
		Parameters:  []*huma.Param{{Name: "name", In: "query", Description: "the file's name, for people", Schema: &huma.Schema{Type: huma.TypeString}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		Responses:   map[string]*huma.Response{"201": {Description: "Created", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}},
	})
	a.mux.HandleFunc("POST "+mediaPath, func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		who, err := a.actor(ctx)
		var m social.Media
		if err == nil {
			// A sender that stalls is cut off; one that is slow is not.
			rc := http.NewResponseController(w)
			body := &steady{r: http.MaxBytesReader(w, r.Body, a.cfg.Upload), deadline: rc.SetReadDeadline}
			m, err = a.cfg.App.ImportMedia(ctx, who, app.MediaFile{Name: r.URL.Query().Get("name"), Body: body})
		}
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			err = social.Errorf(social.CodeInvalid, "media", "the file is larger than %d MiB, the most that is taken in", tooLarge.Limit>>20)
		}
		if err != nil {
			a.writeProblem(w, a.fail(ctx, "media-add", err))
			return
		}
		a.writeJSON(w, http.StatusCreated, m)
	})
}

// steady gives each read its own time.
type steady struct {
	r        io.Reader
	deadline func(time.Time) error
}

func (s *steady) Read(p []byte) (int, error) {
	if err := s.deadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("reading the upload: %w", err)
	}
	return s.r.Read(p)
}

func (a *API) writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	a.write(w, p.Status, p)
}

func (a *API) writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	a.write(w, status, v)
}

func (a *API) write(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.cfg.Log.Debug("writing an answer", "err", err)
	}
}
