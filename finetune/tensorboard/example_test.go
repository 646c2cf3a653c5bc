package tensorboard_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/tensorboard"
)

func Example() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	w, err := tensorboard.Create(dir)
	if err != nil {
		log.Fatal(err)
	}
	err = w.Image(0, "pairs", augment.NewImage(64, 32))
	for step, loss := range []float64{4.8, 4.6, 4.5} {
		err = errors.Join(err, w.Scalar(step, "loss", loss))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		log.Fatal(err)
	}

	files, _ := filepath.Glob(filepath.Join(dir, tensorboard.Prefix+"*"))
	fmt.Println(len(files), "file for tensorboard --logdir")
	// Output:
	// 1 file for tensorboard --logdir
}
