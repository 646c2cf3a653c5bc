package checkpoint

const tvPlain = `^layer1\.0\.conv1\.weight$` // torchvision's names without a prefix

// Tensors that many profiles ignore.
var (
	ignoreMomentum = [2]string{`^(\w*_?momentum\w*|target_\w+|encoder_k|teacher\w*|momentum_encoder)\.`, "the momentum copy of the network"}
	ignoreQueue    = [2]string{`(^|\.|_)(queue|queue_ptr|bank|bank_ptr|memory_bank)(\.|$)|^queue`, "the queue of negatives"}
	ignorePredict  = [2]string{`^predictor\.`, "the predictor of the method"}
	ignoreOnline   = [2]string{`^(online_classifier|non_linear_evaluator|online_evaluator|online_finetuner)\.`, "a classifier that watched the training"}
	ignoreCenter   = [2]string{`^(dino_loss|criterion|loss)\.|(^|\.)center$`, "state of the loss"}
	ignoreProto    = [2]string{`^prototypes\b`, "the prototypes of the loss"}
)

// Profiles are the projects whose checkpoints are known, in the order in which they
// are tried: a file with more of its own names comes before one with fewer. The last
// ones are kinds of networks whatever the project. CONTRIBUTING.md says how to add
// one.
var Profiles = []Profile{
	{
		Name: "sslrt", About: "a checkpoint of this program",
		Facts: []string{`^__metadata__\.format=sslrt$`},
		Match: []string{`^encoder\.layer1\.0\.conv1\.weight$`}, Roots: []string{""},
		Prefix: `encoder\.`, Names: "torchvision", Projector: "projector.*", Classifier: "fc",
		Ignore:   [][2]string{{`^optim\.`, "the optimiser's state"}, ignoreMomentum},
		Settings: Settings{Norm: "imagenet"},
	},

	// Self-supervised projects on ResNets.
	{
		Name: "vissl", About: "VISSL (Facebook)",
		Match:  []string{`^trunk\._feature_blocks\.layer1\.0\.conv1\.weight$`},
		Roots:  []string{"classy_state_dict.base_model.model", "model_state_dict", "base_model.model", ""},
		Prefix: `trunk\._feature_blocks\.`, Names: "torchvision", Projector: "heads.#.clf.*",
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "sthalles", About: "sthalles/SimCLR (2021 and later)",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^backbone\.fc\.2\.weight$`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "backbone.fc.*",
		Settings: Settings{Norm: "none"},
	},
	{
		Name: "sthalles-2020", About: "sthalles/SimCLR (2020), ResNet",
		Match:  []string{`^features\.4\.0\.conv1\.weight$`, `^l1\.weight$`, `^l2\.weight$`},
		Prefix: `features\.`, Names: "sequential", Projector: "l1 relu l2",
		Settings: Settings{Norm: "none"},
	},
	{
		Name: "sthalles-conv", About: "sthalles/SimCLR (2020), four convolutions",
		Match:     []string{`^conv1\.bias$`, `^conv4\.weight$`, `^l1\.weight$`, `^l2\.weight$`},
		Not:       []string{tvPlain, `^conv5\.`},
		Layers:    "conv1/pad1 relu maxpool2 conv2/pad1 relu maxpool2 conv3/pad1 relu maxpool2 conv4/pad1 relu maxpool2 mean",
		Projector: "l1 relu l2",
		Settings:  Settings{Norm: "none", Size: 96},
	},
	{
		Name: "bolts", About: "PyTorch Lightning Bolts, SimCLR",
		Match:  []string{`^encoder\.layer1\.0\.conv1\.weight$`, `^projection\.model\.0\.weight$`},
		Prefix: `encoder\.`, Names: "torchvision", Projector: "projection.model.*",
		Ignore:   [][2]string{{`^encoder\.fc\.`, "the unused classifier of the backbone"}, ignoreOnline},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10-bolts"},
		Hints: []Hint{
			{`^hyper_parameters\.maxpool1=true$`, Settings{Pool: "max"}},
			{`^hyper_parameters\.maxpool1=false$`, Settings{Pool: "none"}},
			{`^hyper_parameters\.dataset=cifar10$`, Settings{Norm: "cifar10-bolts", Size: 32}},
			{`^hyper_parameters\.dataset=stl10$`, Settings{Norm: "stl10-bolts", Size: 96}},
			{`^hyper_parameters\.dataset=imagenet\w*$`, Settings{Norm: "imagenet", Size: 224}},
		},
	},
	{
		Name: "bolts-siamese", About: "PyTorch Lightning Bolts, BYOL and SimSiam",
		Match:  []string{`^online_network\.(encoder\.)+layer1\.0\.conv1\.weight$`},
		Prefix: `online_network\.(?:encoder\.)+`, Names: "torchvision", Projector: "online_network.projector.model.*",
		Ignore:   [][2]string{{`^online_network\.(encoder\.)+fc\.`, "the unused classifier of the backbone"}, {`^online_network\.predictor\.`, "the predictor of the method"}, ignoreMomentum, ignoreOnline},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10-bolts"},
	},
	{
		Name: "lightly-cli", About: "lightly's command (lightly-train)",
		Match:  []string{`^(model\.)?(backbone|features)\.0\.running_mean$`, `^(model\.)?(backbone|features)\.3\.0\.conv1\.weight$`},
		Prefix: `(?:model\.)?(?:backbone|features)\.`, Names: "sequential-input-norm",
		Projector: "model.projection_head.layers.*|projection_head.layers.*|model.projection_head.*|projection_head.*",
		Ignore:    [][2]string{ignoreMomentum, ignoreQueue, ignoreCenter},
		Settings:  Settings{Norm: "imagenet", Linear: true},
	},
	{
		Name: "lightly", About: "lightly, backbone of torchvision with its names",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^projection_head\.(layers\.)?0\.weight$`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "projection_head.layers.*|projection_head.*",
		Ignore:   [][2]string{ignoreOnline, ignoreMomentum, ignoreQueue, ignoreCenter, {`^prediction_head\.`, "the predictor of the method"}, ignoreProto},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "lightly-own", About: "lightly, backbone of its own ResNetGenerator in a Sequential, which has no ReLU behind the stem",
		Match:  []string{`^backbone\.2\.0\.conv1\.weight$`, `^backbone\.5\.0\.conv1\.weight$`, `^backbone\.0\.weight$`},
		Prefix: `backbone\.`, Names: "sequential-bare", Projector: "projection_head.layers.*|projection_head.*",
		Ignore:   [][2]string{ignoreOnline, ignoreMomentum, ignoreQueue, ignoreCenter, {`^prediction_head\.`, "the predictor of the method"}, ignoreProto},
		Settings: Settings{Norm: "imagenet", Linear: true},
	},
	{
		Name: "lightly-sequential", About: "lightly, backbone of torchvision in a Sequential",
		Match:  []string{`^backbone\.4\.0\.conv1\.weight$`, `^backbone\.7\.0\.conv1\.weight$`},
		Prefix: `backbone\.`, Names: "sequential", Projector: "projection_head.layers.*|projection_head.*",
		Ignore:   [][2]string{ignoreOnline, ignoreMomentum, ignoreQueue, ignoreCenter, {`^prediction_head\.`, "the predictor of the method"}, ignoreProto},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "solo-learn", About: "solo-learn; on small images its stem has padding 2",
		Match:  []string{`^(backbone|encoder)\.layer1\.0\.conv1\.weight$`, `^classifier\.weight$`},
		Not:    []string{`^backbone\.fc\.`},
		Prefix: `(?:backbone|encoder)\.`, Names: "torchvision", Projector: "projector.*", Classifier: "classifier",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreProto, ignoreCenter, {`^head\.`, "the head of the method"}},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10-2470", Pad: 2},
		Hints: []Hint{{`^args\.(data\.)?dataset=cifar100$`, Settings{Norm: "cifar100-solo"}}, {`^args\.(data\.)?dataset=stl10$`, Settings{Norm: "imagenet"}}},
	},
	{
		Name: "moco-cifar10", About: "MoCo's notebook for CIFAR-10",
		Match:  []string{`^encoder_q\.net\.3\.0\.conv1\.weight$`},
		Prefix: `encoder_q\.net\.`, Names: "sequential-no-pool", Projector: "encoder_q.net.9",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue},
		Settings: Settings{Norm: "cifar10"},
	},
	{
		Name: "moco", About: "MoCo v1 and v2 (Facebook)",
		Match:  []string{`^encoder_q\.layer1\.0\.conv1\.weight$`},
		Prefix: `encoder_q\.`, Names: "torchvision", Projector: "encoder_q.fc.*",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "moco-v3", About: "MoCo v3 (Facebook), ResNet",
		Match:  []string{`^base_encoder\.layer1\.0\.conv1\.weight$`},
		Prefix: `base_encoder\.`, Names: "torchvision", Projector: "base_encoder.fc.*",
		Ignore:   [][2]string{ignoreMomentum, ignorePredict},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "simsiam", About: "SimSiam (Facebook)",
		Match:  []string{`^encoder\.layer1\.0\.conv1\.weight$`, `^encoder\.fc\.0\.weight$`, `^predictor\.0\.weight$`},
		Prefix: `encoder\.`, Names: "torchvision", Projector: "encoder.fc.*",
		Ignore:   [][2]string{ignorePredict},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "barlowtwins", About: "Barlow Twins (Facebook), whole checkpoint",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^projector\.0\.weight$`, `^bn\.running_mean$`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "projector.*",
		Ignore:   [][2]string{{`^bn\.`, "the normalisation of the loss"}},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "vicreg", About: "VICReg (Facebook), whole checkpoint",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^projector\.0\.weight$`, `^projector\.1\.running_mean$`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "projector.*",
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "leftthomas", About: "leftthomas/SimCLR",
		Match:  []string{`^f\.3\.0\.conv1\.weight$`, `^g\.0\.weight$`},
		Prefix: `f\.`, Names: "sequential-no-pool", Projector: "g.*", Classifier: "fc",
		Ignore:   [][2]string{{`(^|\.)total_(ops|params)$`, "a count of operations"}},
		Settings: Settings{Norm: "cifar10"},
	},
	{
		Name: "scan", About: "SCAN (wvangansbeke/Unsupervised-Classification)",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^(contrastive_head|cluster_head)\.`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "contrastive_head.*", Classifier: "cluster_head.0",
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "supcontrast", About: "HobbitLong/SupContrast",
		Match:  []string{`^encoder\.layer1\.0\.conv1\.weight$`, `^head\.(0\.)?weight$`},
		Prefix: `encoder\.`, Names: "torchvision", Projector: "head.*", Classifier: "fc",
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
		Hints: []Hint{{`^opt\.dataset=cifar100$`, Settings{Norm: "cifar100"}}},
	},
	{
		Name: "spijkervet", About: "Spijkervet/SimCLR; with a 3x3 stem its bottlenecks stride in the 1x1",
		Match:  []string{`^encoder\.layer1\.0\.conv1\.weight$`, `^projector\.0\.weight$`, `^projector\.2\.weight$`},
		Prefix: `encoder\.`, Names: "torchvision", Projector: "projector.*",
		Settings: Settings{Norm: "none"}, Small: Settings{StrideIn1x1: true},
	},
	{
		Name: "dino-resnet", About: "DINO (Facebook), ResNet",
		Match:  []string{`^backbone\.layer1\.0\.conv1\.weight$`, `^head\.(mlp|last_layer)\.`},
		Prefix: `backbone\.`, Names: "torchvision", Projector: "head.mlp.*(gelu) l2norm head.last_layer|head.mlp.*(gelu)",
		Roots:    []string{"teacher", "student", "state_dict", "model", ""},
		Settings: Settings{Norm: "imagenet"},
	},

	// Self-supervised projects on vision transformers.
	{
		Name: "sslrt-vit", About: "a checkpoint of this program",
		Facts: []string{`^__metadata__\.format=sslrt$`},
		Match: []string{`^encoder\.blocks\.0\.attn\.qkv\.weight$`}, Roots: []string{""},
		Prefix: `encoder\.`, Names: "vit", Projector: "projector.*", Classifier: "fc",
		Ignore:   [][2]string{{`^optim\.`, "the optimiser's state"}, ignoreMomentum},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "dino", About: "DINO (Facebook), vision transformer",
		Match:  []string{`^backbone\.blocks\.0\.attn\.qkv\.weight$`, `^head\.(mlp|last_layer)\.`},
		Prefix: `backbone\.`, Names: "vit", Projector: "head.mlp.*(gelu) l2norm head.last_layer|head.mlp.*(gelu)",
		Roots:    []string{"teacher", "student", "state_dict", "model", ""},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "mae", About: "MAE (Facebook)",
		Match:    []string{`^blocks\.0\.attn\.qkv\.weight$`, `^decoder_embed\.weight$`},
		Names:    "vit",
		Ignore:   [][2]string{{`^(decoder_|mask_token)`, "the decoder"}},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "moco-v3-vit", About: "MoCo v3 (Facebook), vision transformer; its small one has 12 heads",
		Match:  []string{`^base_encoder\.blocks\.0\.attn\.qkv\.weight$`},
		Prefix: `base_encoder\.`, Names: "vit", Projector: "base_encoder.head.*",
		Ignore:   [][2]string{ignoreMomentum, ignorePredict},
		Settings: Settings{Norm: "imagenet"},
		Hints:    []Hint{{`^(args\.)?arch=vit(_conv)?_small$`, Settings{Heads: 12}}},
	},
	{
		Name: "solo-learn-vit", About: "solo-learn, vision transformer",
		Match:  []string{`^(backbone|encoder)\.blocks\.0\.attn\.qkv\.weight$`, `^classifier\.weight$`},
		Prefix: `(?:backbone|encoder)\.`, Names: "vit", Projector: "projector.*", Classifier: "classifier",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreProto, ignoreCenter, {`^(head|decoder)\.`, "the head of the method"}},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "torchvision-vit", About: "vision transformer of torchvision",
		Match:  []string{`(^|\.)conv_proj\.weight$`, `encoder\.layers\.encoder_layer_0\.ln_1\.weight$`},
		Prefix: `(?:[^.]+\.)*?`, Names: "vit-torchvision", Classifier: "heads.head|heads.*",
		Ignore:   [][2]string{ignoreMomentum},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "transformers-vit", About: "vision transformer of Hugging Face transformers",
		Match:  []string{`^(\w+\.)?embeddings\.patch_embeddings\.projection\.weight$`, `encoder\.layer\.0\.attention\.attention\.query\.weight$`},
		Prefix: `(?:\w+\.)?`, Names: "vit-transformers", Classifier: "classifier",
		Ignore:   [][2]string{{`^(\w+\.)?pooler\.`, "a layer on the class token"}, {`^decoder\.|mask_token$`, "the decoder"}},
		Settings: Settings{Norm: "half", Eps: 1e-12},
	},
	{
		Name: "vit", About: "a vision transformer with timm's names (timm, DINO, DeiT, MAE), behind some prefix or none",
		Match:  []string{`(^|\.)patch_embed\.proj\.weight$`, `(^|\.)blocks\.0\.attn\.qkv\.weight$`},
		Prefix: `(?:[^.]+\.)*?`, Names: "vit", Projector: "projector.*|projection_head.layers.*|projection_head.*|projection.*", Classifier: "head|classifier|fc",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreOnline, ignoreCenter, ignoreProto, {`(^|\.)(decoder\w*|mask_token)`, "the decoder"}},
		Settings: Settings{Norm: "imagenet"},
	},

	// Networks without a method's heads.
	{
		Name: "simclr-converter", About: "tonylins/simclr-converter: Google's SimCLR v1",
		Match: []string{tvPlain, `^fc\.weight$`}, First: "layer1.0.downsample.0.weight", Then: "layer1.0.conv1.weight",
		Roots: []string{"state_dict", ""},
		Names: "torchvision", Classifier: "fc",
		Settings: Settings{Norm: "none"},
	},
	{
		Name: "swav", About: "SwAV and DeepCluster v2 (Facebook)",
		Match: []string{tvPlain, `^projection_head\.(0\.)?weight$`, `^prototypes\.`},
		Names: "torchvision", Projector: "projection_head.*",
		Ignore:   [][2]string{ignoreProto, ignoreQueue},
		Settings: Settings{Norm: "imagenet"},
	},
	{
		Name: "cifar-resnet", About: "ResNets of 6n+2 layers for CIFAR (akamaster/pytorch_resnet_cifar10)",
		Match: []string{tvPlain, `^layer3\.`}, Not: []string{`^layer4\.`},
		Names: "torchvision", Classifier: "linear|fc",
		Settings: Settings{Norm: "imagenet", Size: 32},
	},
	{
		Name: "transformers-resnet", About: "ResNet of Hugging Face transformers",
		Match:  []string{`^(resnet\.)?embedder\.embedder\.convolution\.weight$`},
		Prefix: `(?:resnet\.)?`, Names: "transformers", Classifier: "classifier.*",
		Settings: Settings{Norm: "imagenet"},
		Hints:    []Hint{{`^config\.downsample_in_bottleneck=true$`, Settings{StrideIn1x1: true}}},
	},
	{
		Name: "torchvision", About: "torchvision, timm and all that use their names without prefix",
		Match: []string{tvPlain, `^conv1\.weight$`},
		Names: "torchvision", Classifier: "fc|linear",
		Ignore:   [][2]string{{`^head\.`, "a head"}},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "mnist-conv", About: "the MNIST network of burn's examples: three convolutions, two linear layers",
		Match: []string{`^conv3\.bias$`, `^norm1\.running_mean$`, `^fc2\.weight$`, `^norm2\.running_mean$`}, Not: []string{tvPlain, `^conv4\.`},
		Layers: "conv1 relu conv2 relu conv3 relu norm1 flatten fc1 relu", Classifier: "fc2 norm2",
		Settings: Settings{Norm: "mnist", Size: 28},
	},

	// Whatever stands before the names.
	{
		Name: "resnet", About: "a ResNet with torchvision's names behind some prefix",
		Match:  []string{`(^|\.)layer1\.0\.conv1\.weight$`},
		Prefix: `(?:[^.]+\.)*?`, Names: "torchvision", Projector: "projector.*|projection_head.layers.*|projection_head.*|projection.*|head.*", Classifier: "classifier|fc|linear",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreOnline, ignoreCenter, ignoreProto},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "resnet-sequential", About: "a ResNet in a Sequential with ReLU and max-pool in it, behind some prefix",
		Match:  []string{`(^|\.)4\.0\.conv1\.weight$`, `(^|\.)7\.0\.conv1\.weight$`},
		Prefix: `(?:[^.]+\.)*?`, Names: "sequential", Projector: "projector.*|projection_head.layers.*|projection_head.*|projection.*|head.*", Classifier: "classifier|fc|linear",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreOnline, ignoreCenter, ignoreProto},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
	{
		Name: "resnet-sequential-no-pool", About: "a ResNet in a Sequential with ReLU and without max-pool in it, behind some prefix",
		Match:  []string{`(^|\.)3\.0\.conv1\.weight$`, `(^|\.)6\.0\.conv1\.weight$`},
		Prefix: `(?:[^.]+\.)*?`, Names: "sequential-no-pool", Projector: "projector.*|projection_head.layers.*|projection_head.*|projection.*|head.*|g.*", Classifier: "classifier|fc|linear",
		Ignore:   [][2]string{ignoreMomentum, ignoreQueue, ignorePredict, ignoreOnline, ignoreCenter, ignoreProto},
		Settings: Settings{Norm: "imagenet"}, Small: Settings{Norm: "cifar10"},
	},
}
