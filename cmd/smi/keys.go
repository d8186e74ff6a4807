package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"smi/internal/keyring"
	"smi/internal/social"
)

func (c *cli) keysCommand() *cobra.Command {
	initCmd := &cobra.Command{
		Use: "init [FILE]", Short: "Make the key that seals the accounts' logins", Args: cobra.MaximumNArgs(1),
		Long: "Makes the key with which the logins of accounts are sealed in the database. It lies outside the data\n" +
			"folder: keep a copy of it in a safe place, apart from the backups of the data. Without it the accounts\n" +
			"have to be connected again.",
		RunE: runs(func(_ *cobra.Command, args []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			path := cfg.KeyFile
			if len(args) == 1 {
				path = args[0]
			}
			if data := filepath.Join(cfg.DataDir, "smi.db"); exists(data) && !exists(path) {
				return social.Errorf(social.CodeInvalid, "", "%s holds data that was sealed with another key; put that key back as %s, or set another data_dir for a new installation", data, path)
			}
			k, err := keyring.Init(path, cfg.DataDir)
			if err != nil {
				return social.Errorf(social.CodeInvalid, "", "%s", err.Error())
			}
			return c.show(map[string]any{"file": path, "key_id": k.ID()}, func() {
				c.say("made the key %s in %s; keep a copy in a safe place, apart from the data", k.ID(), path)
			})
		}),
	}
	return group("keys", "Make the key that seals logins", initCmd)
}
