"""Resource types of an OpenStack cloud, over openstacksdk."""
