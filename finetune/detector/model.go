package detector

import (
	"context"
	"encoding/json"

	"github.com/sslrt/sslrt/models/onnx"
)

// model writes the detector: the encoder, the method's nodes, the decision. Its
// threshold is infinite until it is calibrated.
func (f *fitter) model(ctx context.Context) (*onnx.Model, error) {
	w, err := newWriter(f.face)
	if err != nil {
		return nil, err
	}
	threshold := w.Input(onnx.TensorInfo(InputThreshold, onnx.Float))
	w.matrix(threshold, []float32{0})
	x, _ := f.features(w)
	score, heat := "", ""
	height, width := f.pre.Height, f.pre.Width
	sigma := f.opt.Sigma
	if sigma == 0 {
		sigma = heatSigma * float64(min(height, width)) / heatSize
	}
	switch f.opt.Method {
	case MethodPaDiM:
		means, whiten, err := f.padim.fit()
		if err != nil {
			return nil, err
		}
		heat = heatmap(w, f.padim.nodes(w, x, means, whiten), height, width, sigma)
		score = imageScore(w, heat)
	case MethodPatchCore:
		bank, err := f.patchcore.fit(ctx, func(done, total int) { f.opt.progress("coreset", done, total) })
		if err != nil {
			return nil, err
		}
		k := len(bank) / f.patchcore.grid.C
		f.report.Bank = f.patchcore.summary(k)
		if f.opt.Neighbors, err = neighbours(f.opt.Neighbors, k); err != nil {
			return nil, err
		}
		var scores string
		scores, score = f.patchcore.nodes(w, x, bank, f.opt.Neighbors)
		heat = heatmap(w, scores, height, width, sigma)
	case MethodAutoencoder:
		errors, err := reconstructionNodes(w, f.image, f.output, f.pre, f.opt.Error)
		if err != nil {
			return nil, err
		}
		heat = w.blur(errors, height, width, sigma)
		score = imageScore(w, heat)
	case MethodKNN:
		score, err = f.rows.knnNodes(w, x, f.opt.Neighbors)
	case MethodMahalanobis:
		score, err = f.rows.mahalanobisNodes(w, x)
	}
	if err != nil {
		return nil, err
	}
	batch := onnx.Symbol("N")
	w.NodeTo("Identity", []string{score}, []string{OutputScore})
	w.Output(onnx.TensorInfo(OutputScore, onnx.Float, batch))
	if heat != "" {
		w.NodeTo("Identity", []string{heat}, []string{OutputHeatmap})
		w.Output(onnx.TensorInfo(OutputHeatmap, onnx.Float, batch, onnx.Fixed(1), onnx.Fixed(int64(height)), onnx.Fixed(int64(width))))
	}
	w.NodeTo("Greater", []string{OutputScore, threshold}, []string{OutputDecision})
	w.Output(onnx.TensorInfo(OutputDecision, onnx.Bool, batch))
	summary, err := f.summary(sigma)
	if err != nil {
		return nil, err
	}
	input := onnx.InputFloat
	if f.image.Type == onnx.Uint8 {
		input = onnx.InputUint8
	}
	return w.Model("detector", onnx.Info{Kind: onnx.KindDetector, Version: f.opt.Version, Method: f.opt.Method,
		Layer: f.report.Features, Input: input, Tile: f.opt.Tile, Training: summary, Preprocess: f.pre.Metadata()})
}

// summary is what a file says about how it was made.
func (f *fitter) summary(sigma float64) (json.RawMessage, error) {
	s := struct {
		Encoder   json.RawMessage `json:"encoder,omitempty"` // the encoder file's own
		By        string          `json:"encoder_method,omitempty"`
		Seed      uint64          `json:"seed"`
		HoldOut   float64         `json:"hold_out"`
		Quantile  float64         `json:"quantile,omitempty"`
		Sigma     float64         `json:"sigma,omitempty"`
		Channels  int             `json:"channels,omitempty"`
		Ridge     float64         `json:"ridge,omitempty"`
		Coreset   float64         `json:"coreset,omitempty"`
		Neighbors int             `json:"neighbors,omitempty"`
		Error     string          `json:"error,omitempty"`
	}{Encoder: f.info.Training, By: f.info.Method, Seed: f.opt.Seed, HoldOut: f.opt.HoldOut}
	if f.opt.Validation == nil {
		s.Quantile = f.opt.Quantile
	}
	switch f.opt.Method {
	case MethodPaDiM:
		s.Sigma, s.Channels, s.Ridge = sigma, f.padim.grid.C, f.opt.Ridge
	case MethodPatchCore:
		s.Sigma, s.Coreset, s.Neighbors = sigma, f.opt.Coreset, f.opt.Neighbors
	case MethodAutoencoder:
		s.Sigma, s.Error = sigma, f.opt.Error
	case MethodKNN:
		s.Neighbors = f.opt.Neighbors
	}
	return json.Marshal(s)
}
