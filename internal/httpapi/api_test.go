package httpapi_test

import (
	"os"
	"testing"

	"smi/internal/app"
	"smi/internal/httpapi"
)

// TestOpenAPI keeps the description as it was: a change of the API must be seen
// in review. UPDATE=1 writes it anew.
func TestOpenAPI(t *testing.T) {
	got, err := httpapi.New(httpapi.Config{App: app.New(app.Config{})}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/openapi.json"
	got = indent(t, got)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the API has changed; if that is meant, run: UPDATE=1 go test ./internal/httpapi -run TestOpenAPI")
	}
}
