package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// Config is the part of the configuration of NVIDIA's device plugin that is honoured.
type Config struct {
	Version string `json:"version"`
	Sharing struct {
		TimeSlicing struct {
			RenameByDefault            bool `json:"renameByDefault"`
			FailRequestsGreaterThanOne bool `json:"failRequestsGreaterThanOne"`
			Resources                  []struct {
				Name     string `json:"name"`
				Rename   string `json:"rename"`
				Replicas int    `json:"replicas"`
			} `json:"resources"`
		} `json:"timeSlicing"`
	} `json:"sharing"`
}

type share struct {
	resource string
	replicas int
	exact    bool
}

// load reads a configuration; no file means the defaults.
func load(path string) (Config, error) {
	var config Config
	if path == "" {
		return config, nil
	}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return config, nil
	}
	if err != nil {
		return config, err
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return config, fmt.Errorf("%s: %w", path, err)
	}
	if config.Version != "v1" {
		return config, fmt.Errorf("%s: version is %q; v1 is expected", path, config.Version)
	}
	for _, resource := range config.Sharing.TimeSlicing.Resources {
		if resource.Replicas < 2 {
			return config, fmt.Errorf("%s: %s: replicas is %d; at least 2 are expected", path, resource.Name, resource.Replicas)
		}
	}
	return config, nil
}

// share says as what and in how many shares a resource is offered.
func (c Config) share(name string) share {
	slicing := c.Sharing.TimeSlicing
	for _, resource := range slicing.Resources {
		if resource.Name != name && "nvidia.com/"+resource.Name != name {
			continue
		}
		offered := name
		if resource.Rename != "" {
			offered = resource.Rename
		} else if slicing.RenameByDefault {
			offered = name + ".shared"
		}
		return share{offered, resource.Replicas, slicing.FailRequestsGreaterThanOne}
	}
	return share{name, 1, false}
}
