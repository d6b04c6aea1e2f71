# A database, its account, and one table for each file in tables/.

terraform {
  required_version = ">= 1.5"
}

locals {
  tables = { for file in fileset("${path.module}/tables", "*.sql") : trimsuffix(file, ".sql") => file }
  url    = "postgres://${var.name}:${var.password}@${var.name}.internal:5432/${var.name}"
}

resource "terraform_data" "database" {
  input = {
    name       = var.name
    size_gib   = var.size_gib
    parameters = file("${path.module}/parameters.conf")
  }
}

resource "terraform_data" "account" {
  input = {
    name     = var.name
    password = var.password
  }
}

resource "terraform_data" "table" {
  for_each = local.tables

  input = {
    database = terraform_data.database.input.name
    sql      = file("${path.module}/tables/${each.value}")
  }
}
