"""What runs inside the OpenStack virtual environment: drivers, the network agent and the process that serves an API.

Not imported by the rest of the project (except `rules`, which is pure): its dependencies are the services' own.
"""
