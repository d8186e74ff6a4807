package media

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/internal/social"
)

// Transcoder makes other videos of videos with the program ffmpeg. It is given
// one file in a folder of its own and nothing else: no network protocol, no
// other file, no environment.
type Transcoder struct {
	// Program is the path of ffmpeg.
	Program string
	// Time is the most one video may take; 0 means an hour.
	Time time.Duration
	// Threads is how many processors it uses; 0 means 1.
	Threads int
}

// The programs and protocols that ffmpeg may use.
const (
	protocols     = "file,pipe"
	transcodeTime = time.Hour
	mostPixels    = 40_000_000 // of one picture of a video: 8K has 33 million
	mostAtOnce    = 1 << 30    // bytes of one piece of memory
	mostMemory    = 8 << 30    // bytes of address space
	sayMost       = 4 << 10    // bytes of what it says that are kept
)

// bitrates in bits a second: of the sound, and the least of a picture that is
// worth watching.
const (
	soundRate = 128_000
	leastRate = 200_000
)

// transcodable says why nothing can be made that follows the rule.
func (r FitRule) transcodable() error {
	if len(r.MIME) > 0 && !slices.Contains(r.MIME, string(formatMP4)) {
		return errors.New("only MP4 is made")
	}
	if len(r.Codecs) > 0 && !slices.Contains(r.Codecs, "h264") {
		return errors.New("only H.264 is made")
	}
	return nil
}

// Transcode makes an MP4 with H.264 and AAC that follows the rule, of a video or
// an animated GIF, and keeps it: Fit with the same rule takes it from then on.
// It may take as long as the video and longer, at the lowest priority. A rule
// without values gives what nearly every network takes.
func (s *Store) Transcode(ctx context.Context, m social.Media, rule FitRule) (social.Media, error) {
	name := cmp.Or(m.Name, "the file")
	if m.Kind != social.Video && m.Kind != social.GIF {
		return social.Media{}, &social.Error{Code: social.CodeInvalid, Field: "media", Text: fmt.Sprintf("%s is no video; pictures are made to fit by themselves", name)}
	}
	if err := rule.transcodable(); err != nil {
		return social.Media{}, social.Errorf(social.CodeUnsupported, "media", "nothing that is taken there can be made of %s: %v", name, err)
	}
	if s.transcoder == nil {
		return social.Media{}, social.Errorf(social.CodeUnsupported, "media", "%s cannot be transcoded: ffmpeg is not there; install it on the machine of smi (Debian: apt-get install ffmpeg) or name it in media.ffmpeg, and restart smi", name)
	}
	key := rule.key()
	out, found, err := s.index.Derived(ctx, m.Hash, key)
	if err != nil {
		return social.Media{}, fmt.Errorf("looking for a transcoded copy: %w", err)
	}
	if !found {
		select {
		case s.films <- struct{}{}:
		case <-ctx.Done():
			return social.Media{}, ctx.Err()
		}
		out, err = s.transcode(ctx, name, m, rule)
		<-s.films
		if err != nil {
			return social.Media{}, err
		}
		if err := s.index.SaveDerived(ctx, m.Hash, key, out); err != nil {
			return social.Media{}, fmt.Errorf("saving a transcoded copy: %w", err)
		}
	}
	out.Alt, out.Name = m.Alt, m.Name
	return out, nil
}

// transcode works in a folder of its own, which is removed.
func (s *Store) transcode(ctx context.Context, name string, m social.Media, rule FitRule) (social.Media, error) {
	args, err := arguments(m, rule, max(1, s.transcoder.Threads), s.limits.VideoBytes)
	if err != nil {
		return social.Media{}, social.Errorf(social.CodeInvalid, "media", "%s %v", name, err)
	}
	dir := path.Join(tmpDir, "transcode-"+rand.Text())
	if err := s.root.Mkdir(dir, 0o700); err != nil {
		return social.Media{}, diskError(fmt.Errorf("making a folder for transcoding: %w", err))
	}
	defer s.root.RemoveAll(dir) //nolint:errcheck // the sweep does
	if err := s.lend(ctx, m.Hash, path.Join(dir, "in")); err != nil {
		return social.Media{}, err
	}
	if err := s.transcoder.run(ctx, filepath.Join(s.root.Name(), dir), args); err != nil {
		if ctx.Err() != nil {
			return social.Media{}, ctx.Err()
		}
		return social.Media{}, &social.Error{Code: social.CodeInvalid, Field: "media", Text: fmt.Sprintf("%s cannot be transcoded: %v", name, err), Err: err}
	}
	f, err := s.root.OpenFile(path.Join(dir, "out"), os.O_RDWR, 0)
	if err != nil {
		return social.Media{}, fmt.Errorf("reading what ffmpeg made: %w", err)
	}
	made := &tempFile{File: f, root: s.root, name: path.Join(dir, "out")}
	defer made.discard()
	if err := f.Chmod(0o600); err != nil {
		return social.Media{}, fmt.Errorf("closing what ffmpeg made to others: %w", err)
	}
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return social.Media{}, fmt.Errorf("reading what ffmpeg made: %w", err)
	}
	if n > s.limits.VideoBytes { // and then it is cut off
		return social.Media{}, social.Errorf(social.CodeInvalid, "media", "%s becomes larger than %s; cut it, or make media.max_video_size larger", name, size(s.limits.VideoBytes))
	}
	out := social.Media{Kind: social.Video, MIME: string(formatMP4), Bytes: n, Name: m.Name}
	if err := cleanVideo(ctx, f, n, name, &out, false); err != nil {
		return social.Media{}, err
	}
	if !rule.fits(out) {
		return social.Media{}, s.misfit(name, out, rule)
	}
	return out, s.keep(ctx, made, &out)
}

// lend puts a file into the folder: by a second name where it lies on the same
// disk, else as a copy.
func (s *Store) lend(ctx context.Context, hash, to string) error {
	if s.root.Link(pathOf(hash), to) == nil {
		return nil
	}
	in, err := s.Open(ctx, hash)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was read
	out, err := s.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return diskError(fmt.Errorf("making a file: %w", err))
	}
	if _, err := io.Copy(out, &ctxReader{ctx, in}); err != nil {
		out.Close() //nolint:errcheck // the first error is told
		return diskError(fmt.Errorf("copying a file: %w", err))
	}
	return out.Close()
}

// arguments of ffmpeg. What it reads is named by its format, so that a file
// cannot be a playlist of others.
func arguments(m social.Media, rule FitRule, threads int, most int64) ([]string, error) {
	in := "mov"
	if m.MIME == string(formatGIF) {
		in = "gif"
	}
	// Both sides must be even for the colours that players understand.
	scale := "scale=trunc(iw/2)*2:trunc(ih/2)*2"
	if side := rule.MaxSide &^ 1; side > 0 {
		scale = fmt.Sprintf("scale=w='min(%[1]d,iw)':h='min(%[1]d,ih)':force_original_aspect_ratio=decrease:force_divisible_by=2", side)
	}
	n := strconv.Itoa(threads)
	args := []string{
		"-nostdin", "-hide_banner", "-loglevel", "error", "-max_alloc", strconv.Itoa(mostAtOnce), "-protocol_whitelist", protocols,
		"-threads", n, "-max_pixels", strconv.Itoa(mostPixels), "-f", in, "-i", "file:in",
		"-map", "0:v:0", "-map", "0:a:0?", "-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn",
		"-vf", scale, "-filter_threads", n, "-c:v", "libx264", "-preset", "medium", "-profile:v", "high", "-pix_fmt", "yuv420p", "-crf", "20",
		"-c:a", "aac", "-b:a", strconv.Itoa(soundRate), "-ac", "2", "-ar", "48000", "-threads", n,
	}
	if rule.MaxBytes > 0 {
		if m.Duration <= 0 {
			return nil, errors.New("does not say how long it is, so it cannot be made to fit a number of bytes")
		}
		// A little is left for the container, and for what the encoder misses.
		rate := int64(float64(rule.MaxBytes)*8*0.92/max(m.Duration.Seconds(), 1)) - soundRate
		if rate < leastRate {
			return nil, fmt.Errorf("lasts %v, too long to fit into %s; cut it", m.Duration.Round(time.Second), size(rule.MaxBytes))
		}
		rate = min(rate, 50_000_000)
		args = append(args, "-maxrate", strconv.FormatInt(rate, 10), "-bufsize", strconv.FormatInt(rate, 10))
		most = min(most, rule.MaxBytes)
	}
	return append(args, "-fs", strconv.FormatInt(most+1, 10), "-movflags", "+faststart", "-f", "mp4", "file:out"), nil
}

// run runs ffmpeg in a folder until it ends, is taking too long, or is not
// wanted any more. Its error says what it said.
func (t *Transcoder) run(ctx context.Context, dir string, args []string) error {
	most := cmp.Or(t.Time, transcodeTime)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Program, args...) //nolint:gosec // the admin's program; the arguments are ours
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C"}
	var said tail
	cmd.Stderr = &said
	cmd.WaitDelay = 5 * time.Second
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s cannot be started: %w", t.Program, err)
	}
	giveWay(cmd.Process.Pid)
	confine(cmd.Process.Pid)
	err := cmd.Wait()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it took longer than %v; cut it, or make media.transcode_time longer", most)
	}
	return fmt.Errorf("ffmpeg says: %s", cmp.Or(said.line(), err.Error()))
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - sayMost; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// line is the last line, fit for people.
func (t *tail) line() string {
	all := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(all[len(all)-1]), "?"))
	if len(text) > 300 {
		text = text[:300]
	}
	return text
}
