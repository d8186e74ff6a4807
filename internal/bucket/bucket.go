// Package bucket opens buckets of S3, and of stores that speak its language.
package bucket

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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
	shown string
	o     Options
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
	out := &Bucket{Bucket: b, shown: "s3://" + u.Host, o: o}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		out.Bucket = blob.PrefixedBucket(b, prefix+"/")
		out.shown += "/" + prefix
	}
	return out, nil
}

// String is the bucket with its prefix, without what else its address says.
func (b *Bucket) String() string { return b.shown }

// Explain is the sentence for what a bucket said.
func (b *Bucket) Explain(what string, err error) error {
	code, cure := social.CodeUnavailable, "try again later"
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		code, cure = social.CodeNotFound, "make the bucket, or correct its name"
	case gcerrors.PermissionDenied:
		code, cure = social.CodeRemote, fmt.Sprintf("check the access key (AWS_ACCESS_KEY_ID, or %s) and what it may do", b.o.Key)
	case gcerrors.OK, gcerrors.Unknown, gcerrors.AlreadyExists, gcerrors.InvalidArgument, gcerrors.Internal, gcerrors.Unimplemented,
		gcerrors.FailedPrecondition, gcerrors.ResourceExhausted, gcerrors.Canceled, gcerrors.DeadlineExceeded:
	}
	return &social.Error{Code: code, Field: b.o.Field, Text: fmt.Sprintf("%s: %s: %v; %s", b.shown, what, err, cure), Err: err}
}
