package logging_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mooring/pkg/logging"
)

func TestParseLevel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "ERROR": slog.LevelError} {
		if got, err := logging.ParseLevel(in); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "verbose", "5", "info+2"} {
		if _, err := logging.ParseLevel(in); err == nil {
			t.Errorf("ParseLevel(%q) gave no error", in)
		}
	}
}

func TestSecretsAreRedactedByKey(t *testing.T) {
	t.Parallel()
	for _, format := range []string{logging.FormatText, logging.FormatJSON} {
		var out bytes.Buffer
		logger, err := logging.New(&out, slog.LevelDebug, format)
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("m", slog.String("password", "hush-1"), slog.Group("auth", slog.String("auth_token", "hush-2"), slog.String("user", "shown-1")),
			slog.String("key_id", "shown-2"), slog.String("key", "hush-3"), slog.Any("payload", []byte("hush-4")), slog.Duration("took", 1500*time.Millisecond),
			slog.String("application_credential_secret", "hush-5"), slog.Group("token", slog.String("id", "hush-6")), slog.Any("set_cookie", []string{"hush-7"}),
			slog.String("secret_id", "shown-3"))
		logger.WithGroup("password").Info("m", slog.String("old", "hush-8"), slog.Group("deep", slog.String("er", "hush-9")))
		got := out.String()
		if strings.Contains(got, "hush") || !strings.Contains(got, "1.5s") || !strings.Contains(got, "shown-1") || !strings.Contains(got, "shown-2") || !strings.Contains(got, "shown-3") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	if _, err := logging.New(&bytes.Buffer{}, slog.LevelInfo, "xml"); err == nil {
		t.Fatal("no error")
	}
}
