# The prod environment.

terraform {
  required_version = ">= 1.5"
}

module "network" {
  source = "../../modules/network"

  name  = "prod"
  cidr  = var.cidr
  zones = var.zones
}

locals {
  # So that the example runs without any secret. A real repository would have no fallback.
  database_password = coalesce(var.database_password, substr(sha256("example only, prod"), 0, 24))
}

module "database" {
  source = "../../modules/database"

  name     = "shop"
  size_gib = var.database_size_gib
  password = local.database_password
}

module "service" {
  source   = "../../modules/service"
  for_each = var.services

  name     = each.key
  image    = each.value.image
  replicas = each.value.replicas
  settings = each.value.settings
  subnets  = module.network.subnets

  database_url = module.database.url
}

check "instances_are_paid_for" {
  assert {
    condition     = sum([for service in var.services : service.replicas]) <= var.instance_limit
    error_message = "There are more instances than instance_limit allows."
  }
}
