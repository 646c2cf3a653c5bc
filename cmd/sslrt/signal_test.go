//go:build unix

package main

import (
	"bufio"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSignals ends training by Ctrl-C and by SIGTERM: it saves, says how to go on, and
// has the signal's exit code.
func TestSignals(t *testing.T) {
	sslrt, err := exec.LookPath("sslrt") // put there by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	data, err := filepath.Abs("../../testdata/fashion-mnist")
	if err != nil {
		t.Fatal(err)
	}
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: exitInterrupted, syscall.SIGTERM: exitTerminated} {
		dir := filepath.Join(t.TempDir(), "a run")
		cmd := exec.Command(sslrt, "pretrain", data, "--engine", "go", "--limit", "64", "--width", "0.05",
			"--image-size", "8", "--batch-size", "16", "--epochs", "100000", "--run", dir)
		stderr, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "epoch 2/") {
				if err := cmd.Process.Signal(signal); err != nil {
					t.Error(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != code {
			t.Errorf("%v: %v, want exit code %d", signal, err, code)
		}
		for _, want := range []string{"the checkpoint is written", "\ngo on with: sslrt pretrain --resume --run '" + dir + "'\n"} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("%v: no %q in\n%s", signal, want, all.String())
			}
		}
	}
}
