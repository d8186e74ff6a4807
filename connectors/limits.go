package connectors

import (
	"time"

	"smi/internal/social"
)

// Support says what a network does with a kind of content.
type Support string

// The support levels. The zero value is No.
const (
	No    Support = ""      // refused
	OK    Support = "ok"    // as it is
	Lossy Support = "lossy" // converted; Note says what is lost
)

// TextUnit is how a network counts text.
type TextUnit string

// The units.
const (
	Graphemes TextUnit = "graphemes" // UAX #29 extended grapheme clusters: what a reader calls a character
	Runes     TextUnit = "runes"     // Unicode code points
	UTF16     TextUnit = "utf16"     // UTF-16 code units
	Bytes     TextUnit = "bytes"     // of UTF-8
	Weighted  TextUnit = "weighted"  // the network's own: see its connector
)

// TextLimit bounds a text.
type TextLimit struct {
	Unit  TextUnit `json:"unit"`
	Max   int      `json:"max"`             // in Unit; 0: the network has no text
	Bytes int      `json:"bytes,omitempty"` // a second bound in bytes of UTF-8; 0: none
}

// MediaLimit bounds one kind of media.
type MediaLimit struct {
	Support     Support       `json:"support"`
	Max         int           `json:"max"`                       // in one part
	Bytes       int64         `json:"bytes"`                     // each
	MIME        []string      `json:"mime"`                      // accepted content types, the preferred first
	Codecs      []string      `json:"codecs,omitempty"`          // accepted encodings of a video's picture: h264, hevc, …; empty: not judged before the network does
	MaxSide     int           `json:"max_side,omitempty"`        // pixels; larger ones are made smaller by internal/media
	MinSide     int           `json:"min_side,omitempty"`        //
	MinDuration time.Duration `json:"min_duration_ns,omitempty"` //
	MaxDuration time.Duration `json:"max_duration_ns,omitempty"` //
	MinRatio    float64       `json:"min_ratio,omitempty"`       // width ÷ height
	MaxRatio    float64       `json:"max_ratio,omitempty"`       //
	AltMax      int           `json:"alt_max,omitempty"`         // characters of alt text; 0: no alt text
	Note        string        `json:"note,omitempty"`            // what is lost, for Lossy
}

// Limits are a network's rules about content, as data: the composer shows them,
// Check enforces them, internal/media fits files to them, and the conformance
// suite proves each of them against the simulator.
type Limits struct {
	Text         TextLimit   `json:"text"`
	Image        MediaLimit  `json:"image"`
	GIF          MediaLimit  `json:"gif"`
	Video        MediaLimit  `json:"video"`
	Document     MediaLimit  `json:"document"`
	MediaTotal   int         `json:"media_total"`    // in one part, all kinds together
	MixMedia     bool        `json:"mix_media"`      // kinds may be mixed in one part
	MediaNeeded  bool        `json:"media_needed"`   // a body without media is refused
	Link         Support     `json:"link"`           // link cards
	LinkAndMedia bool        `json:"link_and_media"` // a link card beside media
	Thread       int         `json:"thread"`         // items after the body; 0: no threads
	Comment      int         `json:"comment"`        // first comments; 0: none
	Options      []OptionDoc `json:"options,omitempty"`
	Langs        int         `json:"langs"` // language tags on a part
}

// Of returns the limit of a kind of media; the zero limit, which refuses, for a
// kind that there is not.
func (l Limits) Of(k social.MediaKind) MediaLimit {
	switch k {
	case social.Image:
		return l.Image
	case social.GIF:
		return l.GIF
	case social.Video:
		return l.Video
	case social.Document:
		return l.Document
	}
	return MediaLimit{}
}

// OptionDoc describes a key of Part.Options.
type OptionDoc struct {
	Key    string   `json:"key"`
	Values []string `json:"values,omitempty"` // empty: free text
	Doc    string   `json:"doc"`
	// File is what a stored file must be whose hash is the value; the zero limit:
	// the value is no file.
	File MediaLimit `json:"-"`
}

// Budget is a limit on how often an endpoint may be called. smi keeps 20 % of
// it unused.
type Budget struct {
	Endpoint string        `json:"endpoint"` // "create", "read"
	Window   time.Duration `json:"window_ns"`
	Limit    int           `json:"limit"`
	PerApp   bool          `json:"per_app"` // shared by all accounts of an app; else per account
	Cost     int           `json:"cost"`    // units one commit takes; see Weigher
	// Zone is where the days of a window of 24 hours begin, an IANA name; "": UTC.
	Zone string `json:"zone,omitempty"`
}
