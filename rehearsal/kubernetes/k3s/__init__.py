"""A stand-in for k3s: its files, configuration keys, command line and errors around upstream Kubernetes components.

For rehearsals only, on machines without internet. It is not k3s, and a pass here says nothing about k3s's own code;
README.md lists what is missing. It runs on the machines, with the Python and the openssl of their image, packed with
the component binaries into one executable (README.md, *Packing*).
"""
