package finetune_test

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sslrt/sslrt/finetune"
)

func TestDryRunTellsWhatTheRunDoes(t *testing.T) {
	src := open(t, pictures(t, 12))
	for _, method := range []string{finetune.MethodSimCLR, finetune.MethodSupervised} {
		for _, engine := range engines(t) {
			c := small(engine)
			c.Method, c.Epochs = method, 2
			run := begin(t, c, src)
			t.Chdir(t.TempDir())
			f, err := finetune.DryRun(context.Background(), run.Config, src)
			if err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
				t.Errorf("the dry run wrote %v, %v", left, err)
			}
			var plan finetune.Plan
			r, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{Started: func(p finetune.Plan) { plan = p }})
			if err != nil {
				t.Fatal(err)
			}
			plan.Dir = ""
			if !reflect.DeepEqual(f.Plan, plan) || f.Steps != r.Steps {
				t.Errorf("%s on %s: planned %+v and %d steps, the run did %+v and %d", method, engine, f.Plan, f.Steps, plan, r.Steps)
			}
			if f.Step <= 0 || f.Total != time.Duration(f.Steps)*f.Step {
				t.Errorf("%s on %s: %v a step, %v in all", method, engine, f.Step, f.Total)
			}
		}
	}
}

func TestDryRunErrors(t *testing.T) {
	src := open(t, pictures(t, 12))
	c := begin(t, small("go"), src).Config
	c.Init = "none.safetensors"
	if _, err := finetune.DryRun(context.Background(), c, src); err == nil || !strings.Contains(err.Error(), c.Init) {
		t.Errorf("got %v", err)
	}
	c.Init = ""
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := finetune.DryRun(ctx, c, src); err == nil {
		t.Error("a cancelled dry run ends without an error")
	}
}
