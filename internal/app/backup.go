package app

import (
	"context"
	"time"

	"smi/internal/social"
)

// Backups makes backups of the whole installation.
type Backups interface {
	Make(ctx context.Context, in BackupInput) (Backup, error)
	List(ctx context.Context, to string) (BackupList, error)
}

// BackupInput says where a backup goes.
type BackupInput struct {
	To           string `json:"to,omitempty" doc:"a folder of the daemon's machine, a file that is not there yet and ends in .tar.gz, or s3://BUCKET/PREFIX; without it that of the configuration"`
	WithoutMedia bool   `json:"without_media,omitempty"`
}

// Backup is a backup that was made, and proved by putting it back into a scratch
// folder.
type Backup struct {
	Name         string    `json:"name"`
	Place        string    `json:"place"`
	MadeAt       time.Time `json:"made_at"`
	Bytes        int64     `json:"bytes"`
	Verified     bool      `json:"verified"`
	Schema       int64     `json:"schema"`
	Posts        int64     `json:"posts"`
	Deliveries   int64     `json:"deliveries"`
	Accounts     int64     `json:"accounts"`
	MediaFiles   int       `json:"media_files"`
	MissingMedia []string  `json:"missing_media,omitempty" doc:"hashes of files that are not in the media folder"`
	KeyID        string    `json:"key_id,omitempty" doc:"the key that opens the logins; it is not in the backup"`
	Removed      []string  `json:"removed,omitempty" doc:"old backups that were deleted"`
}

// BackupList lists backups.
type BackupList struct {
	Place   string         `json:"place"`
	Backups []ListedBackup `json:"backups"`
}

// ListedBackup is a backup in a list.
type ListedBackup struct {
	Name   string    `json:"name"`
	MadeAt time.Time `json:"made_at"`
	Bytes  int64     `json:"bytes"`
	Own    bool      `json:"own" doc:"of this instance"`
}

// Backup makes a backup now.
func (a *App) Backup(ctx context.Context, actor Actor, in BackupInput) (Backup, error) {
	if err := a.may(actor, Operate); err != nil {
		return Backup{}, err
	}
	if a.Backups == nil {
		return Backup{}, social.Errorf(social.CodeUnsupported, "", "this smi makes no backups")
	}
	return a.Backups.Make(ctx, in)
}

// ListBackups lists the backups in a place, the newest first; "" is that of the
// configuration.
func (a *App) ListBackups(ctx context.Context, actor Actor, to string) (BackupList, error) {
	if err := a.may(actor, Operate); err != nil {
		return BackupList{}, err
	}
	if a.Backups == nil {
		return BackupList{}, social.Errorf(social.CodeUnsupported, "", "this smi makes no backups")
	}
	return a.Backups.List(ctx, to)
}
