package main

import (
	"path/filepath"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// trainMethod says how the training cases of one kind are run.
type trainMethod struct {
	views     []string // arrays of the shared file: [batches, N, C, H, W]
	labels    string   // its array of labels, or empty
	objective func(r *trainRun) (train.Objective, error)
	eval      evaluation
}

// evaluation is what a case stores of the trained network in evaluation mode.
type evaluation struct {
	output  string
	images  func(r *trainRun) (*tensor.Dense, error)
	forward func(o train.Objective, s models.Scope, x *op.Node) *op.Node
}

var trainMethods = map[string]trainMethod{
	"train_simclr": {
		views: []string{"x1", "x2"},
		objective: func(r *trainRun) (train.Objective, error) {
			s := r.p.Sizes
			projector := models.Projector{Widths: []int{s.ProjHidden, s.ProjOut}, Activation: r.activation(),
				Bias: r.a.has("step00/projector.0.bias"), LastNorm: r.a.has("step00/projector.4.weight")}
			return objective.SimCLR{Encoder: r.encoder(), Projector: projector, Temperature: r.p.Hyper.T}, nil
		},
		eval: evaluation{"eval_features", (*trainRun).testImages, func(o train.Objective, s models.Scope, x *op.Node) *op.Node {
			return o.(objective.SimCLR).Encoder.Forward(s.Sub(objective.NameEncoder), x)
		}},
	},
	"train_conv_ae": {
		views: []string{"x"},
		objective: func(r *trainRun) (train.Objective, error) {
			image := models.Map{Channels: r.image[2], Height: r.image[3], Width: r.image[4]}
			encoder := models.ConvEncoder{Widths: r.p.Sizes.AEChannels, ImageSize: image.Height, Activation: r.activation()}
			decoder, err := models.MirrorOf(encoder, image)
			return objective.Autoencoder{Encoder: encoder, Decoder: decoder, Error: objective.LossMSE}, err
		},
		eval: evaluation{"eval_recon", (*trainRun).firstImages, func(o train.Objective, s models.Scope, x *op.Node) *op.Node {
			a := o.(objective.Autoencoder)
			return a.Decoder.Forward(s.Sub(objective.NameDecoder), a.Encoder.Forward(s.Sub(objective.NameEncoder), x))
		}},
	},
	"train_finetune":     supervisedMethod(false),
	"train_linear_probe": supervisedMethod(true),
}

func supervisedMethod(freeze bool) trainMethod {
	return trainMethod{
		views: []string{"x"}, labels: "label",
		objective: func(r *trainRun) (train.Objective, error) {
			return objective.Supervised{Encoder: r.encoder(), Classes: r.p.Hyper.Classes, Freeze: freeze}, nil
		},
		eval: evaluation{"eval_logits_test", (*trainRun).testImages, func(o train.Objective, s models.Scope, x *op.Node) *op.Node {
			c := o.(objective.Supervised)
			return models.Linear(s.Sub(objective.NameClassifier), c.Encoder.Forward(s.Sub(objective.NameEncoder), x), c.Classes, true)
		}},
	}
}

func (r *trainRun) activation() models.Activation { return models.Activation(r.p.Sizes.Act) }

func (r *trainRun) encoder() models.Encoder {
	return models.ResNet{Blocks: r.p.Sizes.Blocks, Widths: r.p.Sizes.Widths, Stem: models.StemCIFAR, Activation: r.activation()}
}

// testImages returns the labelled test images, which lie beside the cases.
func (r *trainRun) testImages() (*tensor.Dense, error) {
	images, err := openArrays(filepath.Join(r.c.dir, "shared_labelled.npz"))
	if err != nil {
		return nil, err
	}
	defer images.Close()
	return images.dense("x_test")
}

// firstImages returns as many of the first batch's first view as the case has
// results for.
func (r *trainRun) firstImages() (*tensor.Dense, error) {
	n := r.a.shape(r.method.eval.output)[0]
	size := op.Dims(r.image[2:]...).Size()
	return engine.NewTensor(r.views[0][:n*size:n*size], append([]int{n}, r.image[2:]...)...), nil
}
