# The dev environment.

terraform {
  required_version = ">= 1.5"
}

module "network" {
  source = "../../modules/network"

  name  = "dev"
  cidr  = var.cidr
  zones = var.zones
}

module "service" {
  source   = "../../modules/service"
  for_each = var.services

  name     = each.key
  image    = each.value.image
  replicas = each.value.replicas
  settings = each.value.settings
  subnets  = module.network.subnets
}

check "instances_are_paid_for" {
  assert {
    condition     = sum([for service in var.services : service.replicas]) <= var.instance_limit
    error_message = "There are more instances than instance_limit allows."
  }
}
