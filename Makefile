# make          build the command
# make demo     train, export, embed and measure on the images in testdata
# make test     every check and test, and what they need
# make golden   the reference numbers of SSLRT_SHARED (default ../shared)
# make checkpoints  import and compare the checkpoints of SSLRT_SHARED
# make conformance  ONNX's own tests of operators, in SSLRT_SHARED
# make onnx-models  the ONNX models of SSLRT_SHARED: outputs, gradients, training
# make bench    speed beside PyTorch, torchvision and Python's ONNX Runtime (PYTHON=..., PAIRS=10), and
#               the benchmarks of the packages; writes the table of docs/performance.md
# make cover    test coverage, per function in cover.out

BIN     := bin/sslrt
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: build setup demo test golden checkpoints conformance onnx-models bench cover clean

build:
	go build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/sslrt

# The ONNX Runtime library: found, or fetched once by npm or pip.
setup: build
	$(BIN) setup

DATA := testdata/fashion-mnist
DEMO := demo-output
# A narrow ResNet-18 and small batches learn most in two minutes on two cores.
DEMO_FLAGS := --width 0.125 --batch-size 64 --lr 0.12

demo: setup
	rm -rf $(DEMO)
	mkdir -p $(DEMO)
	$(BIN) augment preview $(DATA) --output $(DEMO)/preview.png
	@echo "== the first steps on both machines, then SimCLR on 6,000 images"
	$(BIN) pretrain $(DATA) $(DEMO_FLAGS) --epochs 4 --crosscheck 3 --run $(DEMO)/trained
	$(BIN) export $(DEMO)/encoder.onnx --run $(DEMO)/trained
	@echo "== the same network as it was before training"
	$(BIN) pretrain $(DATA) $(DEMO_FLAGS) --epochs 0 --run $(DEMO)/random
	$(BIN) export $(DEMO)/random.onnx --run $(DEMO)/random
	@echo "== embeddings of the 1,000 test images"
	$(BIN) embed $(DEMO)/encoder.onnx $(DATA) --split test --output $(DEMO)/embeddings.npy
	@echo "== nearest neighbours: random initialisation, then trained"
	$(BIN) evaluate $(DEMO)/random.onnx --train $(DATA) --test $(DATA)
	$(BIN) evaluate $(DEMO)/encoder.onnx --train $(DATA) --test $(DATA)
	@echo "== pictures: $(DEMO)/preview.png, $(DEMO)/trained/preview.png, $(DEMO)/trained/curves.png"

# The summary program sees every test and exits with 1 if one failed or none ran.
test: setup
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -json ./... | go run .ci/summary.go

golden: setup
	go run ./cmd/golden

checkpoints: setup
	go run ./cmd/checkpoints -sslrt $(BIN)

conformance:
	go run ./cmd/onnxcheck conformance

# With a Python that has the package onnx, its checker reads what is written back.
onnx-models: setup
	go run ./cmd/onnxcheck models $(if $(PYTHON),-python $(PYTHON))

# One case: go run ./cmd/bench -case NAME; their names: -list.
bench: setup
	go run ./cmd/bench -sslrt $(BIN) -python "$(or $(PYTHON),python3)" -pairs $(or $(PAIRS),10) -write docs/performance.md

cover:
	go test -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -1

clean:
	rm -rf bin $(DEMO) cover.out
