package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models/onnx"
)

// exportParts are the parts that --part names; which of them a run has depends on
// its method.
var exportParts = []string{finetune.PartAuto, onnx.KindEncoder, onnx.KindProjector, onnx.KindDecoder,
	onnx.KindAutoencoder, onnx.KindClassifier, onnx.KindTrainStep}

func newExport(s streams, g *global) *cobra.Command {
	var run, checkpoint, to string
	var read checkpointFlags
	var fold bool
	var opt finetune.ExportOptions
	cmd := &cobra.Command{
		Use:   "export MODEL.onnx",
		Short: "Write a part of a run as an ONNX file",
		Long: `Export writes a trained network as one ONNX file, for any number of images at a
time, with all that its user needs in the metadata: preprocessing, embedding size,
method. It runs the file on ONNX Runtime beside the training graph and compares
them before the file gets its name.

--part is one of

  auto        what the run is for: the encoder of a self-supervised run, the
              classifier of a supervised one, the autoencoder of one
  encoder     image to embedding
  projector   image to projection, what the self-supervised loss compares
  decoder     embedding to reconstruction, of an autoencoder: pixels in 0..1
  autoencoder image to reconstruction
  classifier  image to logits and probability
  train-step  one step of training: views, lr and all parameters go in, the loss
              and the new parameters ("next:NAME") come out. The parameters' values
              are written beside it, as MODEL.safetensors

--to safetensors writes the weights of encoder, projector or classifier instead,
with torchvision's names and shapes, for load_state_dict of PyTorch. BatchNorm is
not folded.

The input "image" is float32 [N, 3, H, W], normalised, or with --input uint8 the
pixels as they are, [N, H, W, 3].

With --checkpoint the weights are those that another project trained, in a file of
PyTorch or safetensors; see sslrt import for how it is read.`,
		Example: `  sslrt export encoder.onnx
  sslrt export encoder.onnx --run runs/first --input uint8
  sslrt export step.onnx --part train-step
  sslrt export encoder.safetensors --to safetensors
  sslrt export moco.onnx --checkpoint checkpoint_0199.pth.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkExport(cmd, args[0], checkpoint, run, to, &read, &opt); err != nil {
				return err
			}
			opt.Version = programVersion()
			opt.Model.KeepBatchNorm = !fold
			opt.Check.Slow = sayChecking(s)
			if checkpoint != "" {
				return exportCheckpoint(cmd.Context(), s, g, checkpoint, args[0], to, &read, opt)
			}
			r, err := finetune.OpenRun(run)
			if err != nil {
				return err
			}
			if to == "safetensors" {
				done, err := finetune.ExportWeights(r, args[0], opt)
				if err != nil {
					return err
				}
				return reportWeights(s, g, r, done)
			}
			done, err := finetune.Export(cmd.Context(), r, args[0], opt)
			if err != nil {
				return err
			}
			return reportExport(s, g, r, done)
		},
	}
	f := cmd.Flags()
	f.StringVar(&run, "run", "", "run directory (default: the latest in "+finetune.RunsDir+")")
	f.StringVar(&checkpoint, "checkpoint", "", "weights that others trained, in place of a run; see sslrt import")
	read.register(cmd)
	f.StringVar(&to, "to", "onnx", "file format: onnx or safetensors")
	f.StringVar(&opt.Part, "part", finetune.PartAuto, "what to write: "+strings.Join(exportParts, ", "))
	f.StringVar(&opt.Weights, "weights", finetune.WeightsLast, "which checkpoint of the run: last or best (see pretrain --best-by)")
	f.StringVar(&opt.Model.Input, "input", onnx.InputFloat, "type of the input: float or uint8")
	f.IntVar(&opt.Model.Opset, "opset", export.DefaultOpset, "version of ONNX's operators, 13 to 22")
	f.BoolVar(&fold, "fold-batchnorm", true, "fold BatchNorm into the convolutions; false keeps it trainable")
	f.BoolVar(&opt.Force, "force", false, "replace a file that exists")
	f.BoolVar(&opt.NoVerify, "no-verify", false, "write the file without running it")
	return cmd
}

// checkExport refuses flags that contradict each other, before anything is read.
func checkExport(cmd *cobra.Command, path, checkpoint, run, to string, read *checkpointFlags, opt *finetune.ExportOptions) error {
	switch {
	case checkpoint != "" && run != "":
		return usagef("--checkpoint and --run: choose one")
	case checkpoint == "" && len(read.given()) > 0:
		return usagef("%s: for weights that others trained, with --checkpoint FILE", strings.Join(read.given(), ", "))
	case to != "onnx" && to != "safetensors":
		return usagef("--to is %q: choose onnx or safetensors", to)
	case to == "safetensors" && opt.Part == onnx.KindTrainStep:
		return usagef("--to safetensors writes weights, which --part %s is not: choose another part", opt.Part)
	case to == "safetensors" && strings.EqualFold(filepath.Ext(path), ".onnx"):
		return usagef("--to safetensors writes no ONNX file: call %s .safetensors", path)
	case to == "onnx" && strings.EqualFold(filepath.Ext(path), ".safetensors"):
		return usagef("%s would be an ONNX file: call it .onnx, or write weights by --to safetensors", path)
	case to == "safetensors" && changedAny(cmd, "input", "opset", "fold-batchnorm"):
		return usagef("--to safetensors writes the weights as they are: leave out --input, --opset and --fold-batchnorm")
	case checkpoint != "" && changedAny(cmd, "weights"):
		return usagef("--weights chooses among a run's, --checkpoint is one file: leave it out")
	case !slices.Contains(exportParts, opt.Part):
		return usagef("--part is %q: choose %s", opt.Part, strings.Join(exportParts, ", "))
	case opt.Weights != finetune.WeightsLast && opt.Weights != finetune.WeightsBest:
		return usagef("--weights is %q: choose %s or %s", opt.Weights, finetune.WeightsLast, finetune.WeightsBest)
	case opt.Model.Input != onnx.InputFloat && opt.Model.Input != onnx.InputUint8:
		return usagef("--input is %q: choose %s or %s", opt.Model.Input, onnx.InputFloat, onnx.InputUint8)
	}
	return nil
}

// changedAny says whether one of the flags was given.
func changedAny(cmd *cobra.Command, flags ...string) bool {
	return slices.ContainsFunc(flags, func(name string) bool { return cmd.Flags().Changed(name) })
}

// exportCheckpoint imports and exports in one go.
func exportCheckpoint(ctx context.Context, s streams, g *global, checkpoint, path, to string, read *checkpointFlags, opt finetune.ExportOptions) error {
	how, classes, err := read.options()
	if err != nil {
		return err
	}
	network, err := finetune.ReadCheckpoint(checkpoint, how, classes)
	if err != nil {
		return err
	}
	var done finetune.Exported
	if to == "safetensors" {
		done, err = network.ExportWeights(path, opt)
	} else {
		done, err = network.Export(ctx, path, opt)
	}
	if err != nil {
		return err
	}
	r := &finetune.Run{Dir: checkpoint, Config: network.Config}
	if g.json {
		result, from := newExportResult(r, done), newImportResult("", network.Plan)
		result.Run, result.Checkpoint, result.Import = "", checkpoint, &from
		return printJSON(s.out, result)
	}
	if err := printPlan(s.out, network.Plan, false); err != nil {
		return err
	}
	if to == "safetensors" {
		return reportWeights(s, g, r, done)
	}
	return reportExport(s, g, r, done)
}

// sayChecking returns a function that warns before a training step is run on the
// Go machine, which takes a while.
func sayChecking(s streams) func(int) {
	return func(images int) {
		fmt.Fprintf(s.err, "comparing one step of %d images with the machine in Go, which is slow: this may take minutes\n", images)
	}
}

// exportResult is what export and verify print.
type exportResult struct {
	Path     string   `json:"path"`
	Part     string   `json:"part"`
	MaxError *float64 `json:"max_error"` // null when the file was not run
	// ChangeError is of a training step: how far the parameters' changes differ.
	ChangeError *float64 `json:"change_error,omitempty"`
	State       string   `json:"state,omitempty"`

	// Of weights that others trained: where they came from, and how they were read.
	Checkpoint string        `json:"checkpoint,omitempty"`
	Import     *importResult `json:"import,omitempty"`

	Run    string `json:"run"`
	Step   int    `json:"step"`
	Random int    `json:"random"`
	Images int    `json:"images"`
}

func newExportResult(r *finetune.Run, e finetune.Exported) exportResult {
	out := exportResult{Path: e.Path, Part: e.Kind, State: e.State, Run: r.Dir, Step: e.Step, Random: e.Random, Images: e.Images}
	if e.Checked {
		out.MaxError = &e.MaxError
	}
	if e.Checked && e.Kind == onnx.KindTrainStep {
		out.ChangeError = &e.ChangeError
	}
	return out
}

func reportExport(s streams, g *global, r *finetune.Run, e finetune.Exported) error {
	if g.json {
		return printJSON(s.out, newExportResult(r, e))
	}
	fmt.Fprintf(s.out, "wrote %s: %s of %s%s\n", e.Path, e.Kind, r.Dir, atStep(r, e))
	if e.State != "" {
		fmt.Fprintf(s.out, "wrote %s: the values of its parameters\n", e.State)
	}
	if !e.Checked {
		_, err := fmt.Fprintln(s.out, "not verified")
		return err
	}
	return reportVerified(s, e)
}

// reportWeights is reportExport for weights alone, which are compared bit for bit.
func reportWeights(s streams, g *global, r *finetune.Run, e finetune.Exported) error {
	if g.json {
		return printJSON(s.out, newExportResult(r, e))
	}
	said := "not verified"
	if e.Checked {
		said = "verified: read back, it holds the same bits"
	}
	_, err := fmt.Fprintf(s.out, "wrote %s: weights of the %s of %s%s\n%s\n", e.Path, e.Kind, r.Dir, atStep(r, e), said)
	return err
}

// atStep says how far the weights are trained, which is not known of imported ones.
func atStep(r *finetune.Run, e finetune.Exported) string {
	if r.Config.Method == finetune.MethodImported {
		return ""
	}
	return fmt.Sprintf(" at step %d", e.Step)
}

func reportVerified(s streams, e finetune.Exported) error {
	if e.Kind == onnx.KindTrainStep {
		_, err := fmt.Fprintf(s.out, "verified by one step on random views: it differs from the graph by %.2g of the largest value at most (%s), "+
			"the parameters' changes by %.2g (%s)\n", e.MaxError, e.Output, e.ChangeError, e.Parameter)
		return err
	}
	on := fmt.Sprintf("%d random images", e.Random)
	if e.Images > 0 {
		on += fmt.Sprintf(" and %d real ones", e.Images)
	}
	_, err := fmt.Fprintf(s.out, "verified on %s: it differs from the graph by %.2g of the largest value at most (%s)\n", on, e.MaxError, e.Output)
	return err
}
