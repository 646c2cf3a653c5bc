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
		said := signalled(t, signal, code, exec.Command(sslrt, "pretrain", data, "--engine", "go", "--limit", "64", "--width", "0.05",
			"--image-size", "8", "--batch-size", "16", "--epochs", "100000", "--run", dir))
		for _, want := range []string{"the checkpoint is written", "\ngo on with: sslrt pretrain --resume --run '" + dir + "'\n"} {
			if !strings.Contains(said, want) {
				t.Errorf("%v: no %q in\n%s", signal, want, said)
			}
		}
	}
}

// A run that is thrown away cannot go on, and nothing says so.
func TestSignalEndsEvaluate(t *testing.T) {
	sslrt, err := exec.LookPath("sslrt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png"} {
		if err := writePicture(filepath.Join(dir, "photos", name), []string{"10", "200", "10"}); err != nil {
			t.Fatal(err)
		}
	}
	photos, base := filepath.Join(dir, "photos"), filepath.Join(dir, "base")
	if out, err := exec.Command(sslrt, "pretrain", photos, "--engine", "go", "--encoder", "cnn-4", "--image-size", "8",
		"--batch-size", "4", "--epochs", "0", "--run", base).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(sslrt, "evaluate", base, "--protocol", "finetune", "--train", photos, "--test", photos)
	cmd.Env = append(cmd.Environ(), "TMPDIR="+t.TempDir())
	said := signalled(t, syscall.SIGINT, exitInterrupted, cmd)
	if !strings.Contains(said, "sslrt: evaluate: stopped, nothing is kept (sslrt finetune keeps its run, which can go on): interrupted\n") {
		t.Errorf("it does not say that nothing is kept:\n%s", said)
	}
	if strings.Contains(said, "--resume") {
		t.Errorf("it says how to go on:\n%s", said)
	}
}

// signalled runs a command that trains, sends it a signal after the second epoch, wants an
// exit code, and returns what it wrote to standard error.
func signalled(t *testing.T, signal syscall.Signal, code int, cmd *exec.Cmd) string {
	t.Helper()
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
	return all.String()
}
