package media

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"

	xdraw "golang.org/x/image/draw"

	"smi/internal/social"
)

// FitRule is what a network takes of one kind of media. Zero values mean no
// limit.
type FitRule struct {
	MaxBytes int64
	MaxSide  int      // pixels of the longer side
	MIME     []string // accepted types, the preferred first
	Codecs   []string // accepted encodings of a video's picture, the preferred first
	AsIs     bool     // what does not fit is refused instead of changed
}

// key names a rule in the index. The number changes when pictures are made in
// another way.
func (r FitRule) key() string {
	k := fmt.Sprintf("v1 bytes=%d side=%d %s", r.MaxBytes, r.MaxSide, strings.Join(r.MIME, ","))
	if len(r.Codecs) > 0 {
		k += " codecs=" + strings.Join(r.Codecs, ",")
	}
	return k
}

// fits says whether a file needs no change.
func (r FitRule) fits(m social.Media) bool {
	return (r.MaxBytes <= 0 || m.Bytes <= r.MaxBytes) &&
		(r.MaxSide <= 0 || m.Kind == social.Video || max(m.Width, m.Height) <= r.MaxSide) &&
		(len(r.MIME) == 0 || slices.Contains(r.MIME, m.MIME)) && r.codecFits(m)
}

// codecFits does not judge what is not known.
func (r FitRule) codecFits(m social.Media) bool {
	return len(r.Codecs) == 0 || m.Kind != social.Video || m.Codec == "" || slices.Contains(r.Codecs, m.Codec)
}

// smallest is the longer side below which a picture is not made smaller to
// save bytes: nobody would want to publish it.
const smallest = 320

// Fit returns a file that follows the rule: m itself if it does, else a copy
// that is made once and kept, with the alt text and name of m. Pictures are
// scaled and encoded anew; GIFs and videos are not changed here, because that
// takes long: a copy is taken that Transcode made for the rule, and without one
// the file is refused with a sentence that names the rule and the cure.
func (s *Store) Fit(ctx context.Context, m social.Media, rule FitRule) (social.Media, error) {
	if rule.fits(m) {
		return s.better(ctx, m, rule)
	}
	if rule.AsIs && m.Kind == social.Image {
		return social.Media{}, s.misfit(cmp.Or(m.Name, "the file"), m, rule)
	}
	name := cmp.Or(m.Name, "the file")
	key := rule.key()
	out, found, err := s.index.Derived(ctx, m.Hash, key)
	if err != nil {
		return social.Media{}, fmt.Errorf("looking for a smaller copy: %w", err)
	}
	if !found && m.Kind != social.Image {
		return social.Media{}, s.misfit(name, m, rule)
	}
	if !found {
		select {
		case s.pictures <- struct{}{}:
		case <-ctx.Done():
			return social.Media{}, ctx.Err()
		}
		out, err = s.derive(ctx, name, m, rule)
		<-s.pictures
		if err != nil {
			return social.Media{}, err
		}
		if err := s.index.SaveDerived(ctx, m.Hash, key, out); err != nil {
			return social.Media{}, fmt.Errorf("saving a smaller copy: %w", err)
		}
	}
	out.Alt, out.Name = m.Alt, m.Name
	return out, nil
}

// better is a copy of a video that was made for a rule which the video follows but
// for its size: that is for the connector to judge, because networks differ in
// what they do about it.
func (s *Store) better(ctx context.Context, m social.Media, rule FitRule) (social.Media, error) {
	if m.Kind != social.Video || rule.MaxSide <= 0 || max(m.Width, m.Height) <= rule.MaxSide {
		return m, nil
	}
	out, found, err := s.index.Derived(ctx, m.Hash, rule.key())
	switch {
	case err != nil:
		return social.Media{}, fmt.Errorf("looking for a smaller copy: %w", err)
	case !found:
		return m, nil
	}
	out.Alt, out.Name = m.Alt, m.Name
	return out, nil
}

// misfit is the error for what is not changed: the rule that fails, and what
// would cure it.
func (s *Store) misfit(name string, m social.Media, rule FitRule) error {
	what := map[social.MediaKind]string{social.Image: "a picture", social.GIF: "an animated GIF"}[m.Kind]
	if what == "" {
		what = "a video"
	}
	var text string
	switch {
	case len(rule.MIME) > 0 && !slices.Contains(rule.MIME, m.MIME):
		text = fmt.Sprintf("%s is %s of the type %s, which is not taken here; use %s", name, what, m.MIME, strings.Join(rule.MIME, " or "))
	case !rule.codecFits(m):
		text = fmt.Sprintf("%s is %s encoded as %s, which is not taken here; use %s", name, what, m.Codec, strings.Join(rule.Codecs, " or "))
	case rule.MaxBytes > 0 && m.Bytes > rule.MaxBytes:
		text = fmt.Sprintf("%s is %s of %s; at most %s are taken here. Make it shorter or smaller", name, what, size(m.Bytes), size(rule.MaxBytes))
	default:
		text = fmt.Sprintf("%s is %s of %d × %d pixels; at most %d on the longer side are taken here. Make it smaller", name, what, m.Width, m.Height, rule.MaxSide)
	}
	switch {
	case m.Kind == social.Image:
		text += "; smi may not do it (media.refit)"
	case rule.transcodable() != nil:
	case s.transcoder == nil:
		text += ", or install ffmpeg beside smi, which can do it"
	default:
		text += fmt.Sprintf(", or let smi do it: smi media transcode %s --account ACCOUNT", m.Hash[:min(12, len(m.Hash))])
	}
	return &social.Error{Code: social.CodeInvalid, Field: "media", Text: text}
}

// derive makes the copy.
func (s *Store) derive(ctx context.Context, name string, m social.Media, rule FitRule) (social.Media, error) {
	f, err := s.Open(ctx, m.Hash)
	if err != nil {
		return social.Media{}, err
	}
	raw, err := io.ReadAll(f)
	f.Close() //nolint:errcheck // was read
	if err != nil {
		return social.Media{}, fmt.Errorf("reading %s: %w", name, err)
	}
	img, err := decodePicture(format(m.MIME), raw)
	if err != nil {
		return social.Media{}, fmt.Errorf("decoding %s: %w", name, err)
	}
	var profile []byte
	if format(m.MIME) == formatJPEG {
		profile = profileOf(img, raw)
	}
	img = upright(img, orientation(format(m.MIME), raw)) // one that was kept as it came
	b, mime, img, err := encodeToFit(ctx, img, profile, rule)
	if err != nil {
		if errors.Is(err, errCannotFit) {
			return social.Media{}, &social.Error{Code: social.CodeInvalid, Field: "media", Text: fmt.Sprintf("%s cannot be made to fit %s as %s; use another picture", name, size(rule.MaxBytes), strings.Join(rule.MIME, " or "))}
		}
		return social.Media{}, err
	}
	tmp, err := s.temp()
	if err != nil {
		return social.Media{}, err
	}
	defer tmp.discard()
	if _, err := tmp.Write(b); err != nil {
		return social.Media{}, diskError(fmt.Errorf("saving a smaller copy of %s: %w", name, err))
	}
	out := social.Media{Kind: social.Image, MIME: mime, Width: img.Bounds().Dx(), Height: img.Bounds().Dy(), Name: m.Name}
	return out, s.keep(ctx, tmp, &out)
}

var errCannotFit = errors.New("it cannot be made small enough")

// encodeToFit tries, from the best on: for a picture with transparent parts
// PNG at full size; JPEG in falling quality; then smaller and smaller pictures.
func encodeToFit(ctx context.Context, img image.Image, profile []byte, rule FitRule) ([]byte, string, image.Image, error) {
	takes := func(f format) bool { return len(rule.MIME) == 0 || slices.Contains(rule.MIME, string(f)) }
	usePNG := takes(formatPNG) && (!opaque(img) || !takes(formatJPEG))
	if !usePNG && !takes(formatJPEG) {
		return nil, "", nil, errCannotFit
	}
	ok := func(b *bytes.Buffer) bool { return rule.MaxBytes <= 0 || int64(b.Len()) <= rule.MaxBytes }
	original := img
	side := max(img.Bounds().Dx(), img.Bounds().Dy())
	if rule.MaxSide > 0 && side > rule.MaxSide {
		side = rule.MaxSide
	}
	for first := true; first || side >= smallest; first = false {
		if err := ctx.Err(); err != nil {
			return nil, "", nil, err
		}
		img = scale(original, side)
		least := math.MaxInt
		var b bytes.Buffer
		if usePNG {
			if err := png.Encode(&b, img); err != nil {
				return nil, "", nil, err
			}
			if ok(&b) {
				return b.Bytes(), string(formatPNG), img, nil
			}
			least = b.Len()
		}
		if takes(formatJPEG) {
			out, n, err := bestJPEG(img, profile, ok)
			if err != nil {
				return nil, "", nil, err
			}
			if out != nil {
				return out, string(formatJPEG), img, nil
			}
			least = min(least, n)
		}
		// Bytes grow about as the area does; go down at least a little.
		f := math.Sqrt(float64(rule.MaxBytes)/float64(least)) * 0.97
		next := int(float64(side) * min(max(f, 0.3), 0.9))
		if side > smallest {
			next = max(next, smallest)
		}
		side = next
	}
	return nil, "", nil, errCannotFit
}

// bestJPEG returns the picture in the best quality that is ok; else nil and the
// length in the least quality.
func bestJPEG(img image.Image, profile []byte, ok func(*bytes.Buffer) bool) ([]byte, int, error) {
	var least bytes.Buffer
	if err := encodeJPEG(&least, img, 70, profile); err != nil {
		return nil, 0, err
	}
	if !ok(&least) {
		return nil, least.Len(), nil
	}
	for _, q := range []int{importQuality, 85, 78} {
		var b bytes.Buffer
		if err := encodeJPEG(&b, img, q, profile); err != nil {
			return nil, 0, err
		}
		if ok(&b) {
			return b.Bytes(), b.Len(), nil
		}
	}
	return least.Bytes(), least.Len(), nil
}

// scale returns the picture with its longer side of so many pixels; it never
// makes one larger.
func scale(img image.Image, side int) image.Image {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if max(w, h) <= side {
		return img
	}
	f := float64(side) / float64(max(w, h))
	to := image.Rect(0, 0, max(1, int(math.Round(float64(w)*f))), max(1, int(math.Round(float64(h)*f))))
	var dst draw.Image = image.NewNRGBA(to)
	if opaque(img) {
		dst = image.NewRGBA(to)
	}
	xdraw.CatmullRom.Scale(dst, to, img, b, draw.Src, nil)
	return dst
}
