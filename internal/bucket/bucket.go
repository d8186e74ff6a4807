// Package bucket opens buckets of S3, and of stores that speak its language.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	gcaws "gocloud.dev/aws"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"smi/internal/social"
)

// Access are the credentials of a bucket. Empty ones are found in the usual
// places of the environment.
type Access struct{ Key, Secret social.Secret }

// Is says whether a place is a bucket.
func Is(to string) bool { return strings.HasPrefix(to, "s3://") }

// Bucket is an open bucket. Its methods are those of blob.Bucket; names are
// below its prefix.
type Bucket struct {
	*blob.Bucket
	shown  string
	o      Options
	client *s3.Client
	name   string
	prefix string
}

// Options make a Bucket.
type Options struct {
	To     string // s3://NAME/PREFIX?region=…&endpoint=…&use_path_style=true
	Access Access
	Field  string // what errors name as the field that is wrong: "to"
	Key    string // the setting of the access key, for sentences: "backup.access_key_file"
}

// Open opens a bucket. It makes no call.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	u, err := url.Parse(o.To)
	if err != nil || !Is(o.To) || u.Host == "" {
		return nil, social.Errorf(social.CodeInvalid, o.Field, "a bucket is named as s3://BUCKET/PREFIX?region=REGION")
	}
	if u.User != nil { // and would be overlooked
		return nil, social.Errorf(social.CodeInvalid, o.Field, "the address of the bucket holds a key, which would be shown wherever the configuration is; put it into files and name them in %s", o.Key)
	}
	q := u.Query()
	pathStyle := q.Get("use_path_style") == "true"
	q.Del("use_path_style")
	cfg, err := gcaws.V2ConfigFromURLParams(ctx, q)
	if err != nil {
		return nil, social.Errorf(social.CodeInvalid, o.Field, "the address of the bucket is not understood: %v", err)
	}
	if !o.Access.Key.Empty() {
		cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.Access.Key.Reveal(), SecretAccessKey: o.Access.Secret.Reveal(), Source: "smi's configuration"}, nil
		})
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		o.DisableLogOutputChecksumValidationSkipped = true // parts of files have none
	})
	b, err := s3blob.OpenBucket(ctx, client, u.Host, &s3blob.Options{RequestChecksumCalculation: cfg.RequestChecksumCalculation})
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", u.Host, err)
	}
	out := &Bucket{Bucket: b, shown: "s3://" + u.Host, o: o, client: client, name: u.Host}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		out.Bucket = blob.PrefixedBucket(b, prefix+"/")
		out.shown += "/" + prefix
		out.prefix = prefix + "/"
	}
	return out, nil
}

// String is the bucket with its prefix, without what else its address says.
func (b *Bucket) String() string { return b.shown }

// Explain is the sentence for what a bucket said.
func (b *Bucket) Explain(what string, err error) error {
	code, cure := social.CodeUnavailable, "try again later"
	switch codeOf(err) {
	case gcerrors.NotFound:
		code, cure = social.CodeNotFound, "make the bucket, or correct its name"
	case gcerrors.PermissionDenied:
		code, cure = social.CodeRemote, fmt.Sprintf("check the access key (AWS_ACCESS_KEY_ID, or %s) and what it may do", b.o.Key)
	case gcerrors.OK, gcerrors.Unknown, gcerrors.AlreadyExists, gcerrors.InvalidArgument, gcerrors.Internal, gcerrors.Unimplemented,
		gcerrors.FailedPrecondition, gcerrors.ResourceExhausted, gcerrors.Canceled, gcerrors.DeadlineExceeded:
	}
	return &social.Error{Code: code, Field: b.o.Field, Text: fmt.Sprintf("%s: %s: %v; %s", b.shown, what, err, cure), Err: err}
}

// Put uploads the n bytes of r whole or not at all, in parts of so many bytes, of
// which none is held in memory: blob.Writer, which does not know how long a file
// is, holds the first 16 MiB several times.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, n, part int64) error {
	key = b.prefix + key
	if n <= part {
		_, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: io.NewSectionReader(r, 0, n), ContentLength: &n})
		return err
	}
	up, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return err
	}
	var done []types.CompletedPart
	for at, number := int64(0), int32(1); at < n; at, number = at+part, number+1 {
		length := min(part, n-at)
		out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &b.name, Key: &key, UploadId: up.UploadId, PartNumber: &number, Body: io.NewSectionReader(r, at, length), ContentLength: &length,
		})
		if err != nil {
			b.giveUp(ctx, key, up.UploadId)
			return err
		}
		done = append(done, types.CompletedPart{
			ETag: out.ETag, PartNumber: aws.Int32(number), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C,
			ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256,
		})
	}
	_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.name, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if err != nil {
		b.giveUp(ctx, key, up.UploadId)
	}
	return err
}

// giveUp has the parts of an upload deleted, as far as the bucket can be reached.
func (b *Bucket) giveUp(ctx context.Context, key string, upload *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: upload}) //nolint:errcheck // the bucket's own rule deletes them
}

// codeOf knows what the bucket said to Put, too.
func codeOf(err error) gcerrors.ErrorCode {
	if said, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		switch said.ErrorCode() {
		case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch":
			return gcerrors.PermissionDenied
		case "NoSuchBucket":
			return gcerrors.NotFound
		}
	}
	return gcerrors.Code(err)
}
