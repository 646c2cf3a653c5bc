package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models/checkpoint"
)

func newImport(s streams, g *global) *cobra.Command {
	var run string
	var c checkpointFlags
	cmd := &cobra.Command{
		Use:   "import CHECKPOINT --run DIR",
		Short: "Take in a network that others trained with PyTorch",
		Long: `Import reads the weights that another project trained, from a file of PyTorch
(.pt, .pth, .tar, .ckpt: zip and legacy format) or safetensors, also in several
files, and makes a run of them: to be exported, or for pretrain --init.

Nothing in the file is executed. A profile knows how the project writes its network;
it is found by the names of the tensors or given by --profile. What the file cannot
say (the padding of the stem, the normalisation of the input) the profile states;
the output says so, and a flag changes it. An encoder that is not there completely
is an error; sslrt inspect shows each tensor.

An ONNX file holds its network: all its operators must be known (the error lists
those that are not). Its embedding is the first output [N, D], or the value that
--key names. What export --part encoder writes of such a run is the same file with
other weights.`,
		Example: `  sslrt import checkpoint_0199.pth.tar --run runs/moco
  sslrt export encoder.onnx --run runs/moco
  sslrt import encoder.onnx --run runs/foreign
  sslrt import model.safetensors --run runs/timm --image-size 96 --mean 0.5 --std 0.5`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if run == "" {
				return usagef("--run DIR is missing: the directory that the run gets")
			}
			if foreign, err := isONNX(args[0]); err != nil || foreign {
				if err != nil {
					return err
				}
				return importONNX(s, g, args[0], run, &c)
			}
			opt, classes, err := c.options()
			if err != nil {
				return err
			}
			network, err := finetune.ReadCheckpoint(args[0], opt, classes)
			if err != nil {
				return err
			}
			r, err := network.Save(run)
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(s.out, newImportResult(r.Dir, network.Plan))
			}
			if err := printPlan(s.out, network.Plan, false); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "wrote %s: go on with sslrt export encoder.onnx --run %s\n", r.Dir, shellWord(r.Dir))
			return err
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "run directory to make")
	c.register(cmd)
	return cmd
}

// importResult is what import and inspect print under --json.
type importResult struct {
	Run         string   `json:"run,omitempty"`
	Profile     string   `json:"profile"`
	Key         string   `json:"key"`
	Network     string   `json:"network"`
	Projector   bool     `json:"projector"`
	Classifier  int      `json:"classifier"` // classes; 0: none
	Loaded      int      `json:"loaded"`
	Renamed     int      `json:"renamed"`
	Ignored     int      `json:"ignored"`
	Missing     int      `json:"missing"`
	WrongShape  int      `json:"wrong_shape"`
	Assumptions []string `json:"assumptions"`
}

func newImportResult(run string, p *checkpoint.Plan) importResult {
	return importResult{Run: run, Profile: p.Profile.Name, Key: p.Root, Network: p.Network.String(),
		Projector: p.Network.Projector != nil, Classifier: p.Network.Classifier.Size(),
		Loaded: p.Coverage.Count(checkpoint.Loaded), Renamed: p.Coverage.Count(checkpoint.Renamed), Ignored: p.Coverage.Count(checkpoint.Ignored),
		Missing: p.Coverage.Count(checkpoint.Missing), WrongShape: p.Coverage.Count(checkpoint.WrongShape),
		Assumptions: append([]string{}, p.Assumptions...)}
}
