# A service: its rendered configuration, and instances spread over the zones.

terraform {
  required_version = ">= 1.5"
}

locals {
  zones = sort(keys(var.subnets))

  instances = {
    for number in range(var.replicas) :
    format("%s-%d", var.name, number + 1) => local.zones[number % length(local.zones)]
  }
}

resource "terraform_data" "configuration" {
  input = templatefile("${path.module}/service.conf.tftpl", {
    name         = var.name
    image        = var.image
    settings     = var.settings
    database_url = var.database_url
  })
}

resource "terraform_data" "instance" {
  for_each = local.instances

  input = {
    image  = var.image
    zone   = each.value
    subnet = var.subnets[each.value]
  }

  # A new image is a new instance, as in real life.
  triggers_replace = [var.image]
}
