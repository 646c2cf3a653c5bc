package finetune

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/train"
)

func TestConfigText(t *testing.T) {
	for text, want := range map[string]func(Config) bool{
		"lr: 1e-6":                    func(c Config) bool { return c.LR == 1e-6 },
		"lr: 1":                       func(c Config) bool { return c.LR == 1 },
		"weight_decay: -1 # default":  func(c Config) bool { return c.WeightDecay == -1 },
		"seed: 18446744073709551615":  func(c Config) bool { return c.Seed == math.MaxUint64 },
		"nesterov: true":              func(c Config) bool { return c.Nesterov },
		"projector: [512, 128]":       func(c Config) bool { return reflect.DeepEqual(c.Projector, []int{512, 128}) },
		"projector: []":               func(c Config) bool { return c.Projector == nil },
		"projector:\n- 3\n- 4\n":      func(c Config) bool { return reflect.DeepEqual(c.Projector, []int{3, 4}) },
		"data: [1e3, \"a: b\", 'c']":  func(c Config) bool { return reflect.DeepEqual(c.Data, []string{"1e3", "a: b", "c"}) },
		"encoder: resnet50\nseed: 3":  func(c Config) bool { return c.Encoder == "resnet50" && c.Seed == 3 && c.Epochs == 200 },
		"---\nepochs: 3\n":            func(c Config) bool { return c.Epochs == 3 },
		"{epochs: 3, loss: infonce}":  func(c Config) bool { return c.Epochs == 3 && c.Loss == "infonce" },
		"mean: [0.1]\nimage_size: 10": func(c Config) bool { return c.Mean[0] == float32(0.1) && c.ImageSize == 10 },
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil || !want(c) {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}

func TestConfigTextErrors(t *testing.T) {
	for text, want := range map[string][]string{
		"epochs: 1.5":                      {"line 1", "epochs", "whole number"},
		"seed: 1\n\nepochs: \"3\"":         {"line 3", "epochs", "quotes"},
		"epochs: many":                     {"line 1", "epochs", `"many"`},
		"seed: -1":                         {"line 1", "seed", "from 0 up"},
		"epochs: 99999999999999999999":     {"line 1", "epochs"},
		"lr: .inf":                         {"line 1", "lr", "a number"},
		"lr: .nan":                         {"line 1", "lr", "a number"},
		"mean: [1e300]":                    {"line 1", "mean", "entry 1"},
		"nesterov: yes":                    {"line 1", "nesterov", "true or false"},
		"encoder: [a]":                     {"line 1", "encoder", "single value"},
		"encoder:":                         {"line 1", "encoder", "no value"},
		"projector: 512-128":               {"line 1", "projector", "list"},
		"projector: [512, x]":              {"line 1", "projector", "entry 2"},
		"projector: [[1]]":                 {"line 1", "projector", "entry 1"},
		"a: 1":                             {"line 1", `unknown setting "a"`},
		"seed: 1\nepochs: 3\nepochs: 4":    {"3:1", "epochs", "already defined"},
		"epochs: 3\n---\nepochs: 4":        {"line 3", "second document"},
		"[1]":                              {"line 1"},
		"text":                             {"line 1"},
		"":                                 {"empty"},
		"# only a comment":                 {"empty"},
		"epochs: 3\nbad":                   {"2:1"},
		"new: 1\nversion: 7\n":             {"line 2", "version 7", "newer"},
		"version: 0":                       {"version 0"},
		"<<: {epochs: 3}":                  {"line 1"},
		"data: &a [*a]":                    {"line 1", "data"},
		strings.Repeat("# 1234567\n", 2e5): {"more than"},
	} {
		_, err := ParseConfig([]byte(text))
		if err == nil {
			t.Errorf("%.40q is read without an error", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.40q: want an error with %q, got %v", text, w, err)
			}
		}
	}
}

func TestApplyKeepsTheRestAndChangesNothingOnErrors(t *testing.T) {
	c := DefaultConfig()
	c.Seed = 4
	if err := c.Apply([]byte("epochs: 3")); err != nil || c.Epochs != 3 || c.Seed != 4 {
		t.Errorf("got %+v, %v", c, err)
	}
	before := c
	if err := c.Apply([]byte("seed: 9\nepochs: x")); err == nil || !reflect.DeepEqual(c, before) {
		t.Errorf("got %+v, %v", c, err)
	}
}

// awkward are texts that YAML could take for something else.
var awkward = []string{"-", "a: b", "#x", "true", "1e3", "", ".nan", "~", "- x", "'q", "\"", "a,b", "[x", "1_000",
	"0x1", "null", "*a", "&b", "!t", "%d", "@x", "`", "x #y", " x ", "é", "a\\b", "C:\\x", "{", "? k", "|", ">", "=", "<<", "1:2:3", "2001-01-01"}

func TestMarshalIsReadBack(t *testing.T) {
	c := DefaultConfig()
	c.LR, c.WeightDecay, c.Seed = 1e-6, 1.0/3e10, math.MaxUint64
	c.Temperature, c.WarmupEpochs = math.Nextafter(0.1, 1), 1e21
	c.Mean, c.Std = []float32{0.485, 1e-9, 1.0 / 3}, []float32{1, 2, 16777216}
	c.Data, c.Classes, c.Milestones = awkward, awkward, []int{1, 2}
	c.NoProjector, c.Init = true, "a: b.safetensors"
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseConfig(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if d := again.Differences(c); len(d) > 0 {
		t.Errorf("read back with differences %q from\n%s", d, data)
	}
}

func TestSet(t *testing.T) {
	var c Config
	for _, s := range [][2]string{{"epochs", "7"}, {"lr", "1e-3"}, {"projector", "512, 128"}, {"milestones", "[3, 4]"},
		{"nesterov", "true"}, {"data", "a b,c"}, {"encoder", "true"}, {"mean", "0.5"}, {"seed", "2"}} {
		if err := c.Set(s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := Config{Epochs: 7, LR: 1e-3, Projector: []int{512, 128}, Milestones: []int{3, 4}, Nesterov: true,
		Data: []string{"a b", "c"}, Encoder: "true", Mean: []float32{0.5}, Seed: 2}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if err := c.Set("projector", ""); err != nil || c.Projector != nil {
		t.Errorf("an empty list: got %v, %v", c.Projector, err)
	}
	for _, s := range [][2]string{{"epochs", ""}, {"epochs", "1e3"}, {"seed", "-2"}, {"nesterov", "1"}, {"projector", "a"},
		{"projector", "[1"}, {"projector", "[[1]]"}, {"version", "1"}, {"", "1"}, {"Epochs", "1"}, {"lr", "NaN"}} {
		before := c
		if err := c.Set(s[0], s[1]); err == nil || !reflect.DeepEqual(c, before) {
			t.Errorf("%q: got %+v, %v", s, c, err)
		}
	}
}

func TestEverySettingHasAType(t *testing.T) {
	for _, key := range Settings() {
		c := DefaultConfig()
		err := c.Set(key, "1")
		known := err == nil
		for _, other := range []string{"true or false", "want a list", "mapping is expected"} {
			known = known || strings.Contains(err.Error(), other)
		}
		if !known {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Rates by hand: an epoch has 10 steps, the rate is 1.
func TestSchedules(t *testing.T) {
	for _, tc := range []struct {
		set  string
		want map[int]float64
	}{
		{"schedule: cosine", map[int]float64{0: 1, 20: 0.5, 40: 0}},
		{"schedule: constant", map[int]float64{0: 1, 20: 1, 39: 1}},
		{"{schedule: step, milestones: [1, 3]}", map[int]float64{0: 1, 9: 1, 10: 0.1, 29: 0.1, 30: 0.01}},
		{"{schedule: step, milestones: [2], gamma: 0.5, warmup_epochs: 1}", map[int]float64{0: 0.1, 4: 0.5, 9: 1, 19: 1, 20: 0.5}},
		{"{schedule: constant, warmup_epochs: 0.5}", map[int]float64{0: 0.2, 4: 1, 30: 1}},
	} {
		c, err := ParseConfig([]byte(tc.set))
		if err != nil {
			t.Fatal(err)
		}
		c.LR, c.Epochs = 1, 4
		if err := c.validateSchedule(); err != nil {
			t.Error(err)
		}
		s := c.schedule(10)
		for at, want := range tc.want {
			if got := s.Rate(train.Step{Index: at, Total: 40}); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: step %d: got %g, want %g", tc.set, at, got, want)
			}
		}
	}
	for _, bad := range []string{"schedule: linear", "schedule: step", "milestones: [3]",
		"{schedule: step, milestones: [0]}", "{schedule: step, milestones: [3, 3]}", "{schedule: step, milestones: [3], gamma: 0}"} {
		c, err := ParseConfig([]byte(bad))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.validateSchedule(); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("epochs: 3\nprojector: [512, 128]\n"))
	f.Add([]byte("data:\n- \"a: b\"\n- |\n  c\n"))
	f.Add([]byte("version: 2"))
	f.Add([]byte("? a\n: b"))
	f.Add([]byte("augment: [RandomErasing: {value: random}]\nviews: [{count: 2, size: 9, augment: byol}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		text, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := again.Differences(c); len(d) > 0 {
			t.Errorf("%q from\n%s", d, text)
		}
	})
}
