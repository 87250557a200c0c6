// Command gpu-stand-in is what runs in a rehearsed cluster instead of NVIDIA's device plugin and DCGM exporter.
//
// The kubelet's device plugin API is the real one; the GPUs are device files /dev/nvidia<N>, which the NVIDIA runtime
// of the machine (a stand-in too) puts into the container together with nvidia-smi.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"
)

// GPU is one line of nvidia-smi.
type GPU struct{ Index, UUID, Name, Driver string }

// gpus asks nvidia-smi. Without the driver in the container there are none.
func gpus() []GPU {
	out, err := exec.Command("nvidia-smi", "--query-gpu=index,uuid,name,driver_version", "--format=csv,noheader").Output()
	if err != nil {
		return nil
	}
	var found []GPU
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if fields := strings.Split(line, ", "); len(fields) == 4 {
			found = append(found, GPU{fields[0], fields[1], fields[2], fields[3]})
		}
	}
	return found
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: gpu-stand-in device-plugin|dcgm-exporter [options]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var err error
	switch os.Args[1] {
	case "device-plugin":
		file := flags.String("config-file", os.Getenv("CONFIG_FILE"), "configuration of NVIDIA's device plugin (YAML)")
		flags.Parse(os.Args[2:])
		err = plug(*file)
	case "dcgm-exporter":
		address := flags.String("address", ":9400", "where to listen")
		flags.Parse(os.Args[2:])
		err = export(*address)
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// waitForGPUs returns when there are GPUs: as NVIDIA's plugin, which waits on a node without.
func waitForGPUs() []GPU {
	if found := gpus(); len(found) > 0 {
		return found
	}
	log.Print("no GPU: nvidia-smi does not answer in this container (runtimeClassName nvidia?); waiting indefinitely")
	for {
		time.Sleep(30 * time.Second)
		if found := gpus(); len(found) > 0 {
			return found
		}
	}
}
