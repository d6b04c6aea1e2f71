# A network and one subnet for each zone. Built-in resources only: nothing is created outside the state.

terraform {
  required_version = ">= 1.5"
}

resource "terraform_data" "network" {
  input = {
    name = var.name
    cidr = var.cidr
  }
}

resource "terraform_data" "subnet" {
  for_each = var.zones

  input = {
    network = terraform_data.network.input.name
    zone    = each.key
    # The number, not the order of the keys, gives the range: a new zone moves no other.
    cidr = cidrsubnet(var.cidr, 4, each.value)
  }
}
