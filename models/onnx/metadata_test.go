package onnx

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInfoRoundTrip(t *testing.T) {
	threshold := 0.1 + 0.2 // needs all 17 digits
	want := Info{
		Kind: KindDetector, Version: "0.1.0", Method: "padim", Layer: "layer3", EmbeddingSize: 512,
		Classes: []string{"good", "défaut, \"x\"", ""}, Threshold: &threshold, ScoreRange: &[2]float64{-1.5, 1e300},
		Input: InputUint8, Batch: 64, Training: json.RawMessage(`{"epochs":10}`),
		Preprocess: map[string]string{"size": "224", "crop": "center"},
	}
	m := weights(t)
	m.Metadata = []StringEntry{{Key: "author", Value: "someone"}, {Key: KeyKind, Value: "stale"}, {Key: KeyPrefix + "gone", Value: "1"}}
	if err := want.WriteTo(m); err != nil {
		t.Fatal(err)
	}
	first, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Unmarshal(first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadInfo(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if v, ok := again.Meta("author"); !ok || v != "someone" {
		t.Error("a key of another program is lost")
	}
	if _, ok := again.Meta(KeyPrefix + "gone"); ok {
		t.Error("a stale key is kept")
	}
	if v, _ := again.Meta("sslrt.preprocess.size"); v != "224" {
		t.Errorf("sslrt.preprocess.size = %q", v)
	}
	if err := got.WriteTo(again); err != nil {
		t.Fatal(err)
	}
	second, err := again.Marshal()
	if err != nil || string(second) != string(first) {
		t.Errorf("writing the same metadata again changes the file (%v)", err)
	}
}

func TestReadInfoWithout(t *testing.T) {
	got, err := ReadInfo(weights(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Info{}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadInfoErrors(t *testing.T) {
	for key, value := range map[string]string{
		KeyEmbeddingSize: "many", KeyBatch: "0", KeyClasses: "cat", KeyThreshold: "high",
		KeyScoreRange: "[1]", KeyInput: "int4", KeyTraining: "{",
	} {
		m := &Model{}
		m.SetMeta(key, value)
		if _, err := ReadInfo(m); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s = %q: error %v", key, value, err)
		}
	}
	nan := math.NaN()
	for _, info := range []Info{{Training: json.RawMessage("{")}, {Threshold: &nan}} {
		if err := info.WriteTo(&Model{}); err == nil {
			t.Errorf("%+v is written", info)
		}
	}
}

func TestSetMeta(t *testing.T) {
	m := &Model{}
	m.SetMeta("a", "1")
	m.SetMeta("b", "2")
	m.SetMeta("a", "3")
	if len(m.Metadata) != 2 || m.Metadata[0].Value != "3" || m.Metadata[1].Value != "2" {
		t.Errorf("%v", m.Metadata)
	}
}
