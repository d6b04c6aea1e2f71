# What tfops does with this repository. Every key: docs/configuration.md

store "local" {}

environment "dev" {
  branch    = "main"
  roots     = ["environments/dev"]
  var_files = ["dev.tfvars"]

  # Merged is approved. Without this block nothing is applied automatically.
  approval { count = 0 }
}

environment "staging" {
  branch    = "main"
  roots     = ["environments/staging"]
  var_files = ["staging.tfvars"]
  after     = ["dev"]
  pass_env  = ["TF_VAR_database_password"]

  approval { count = 0 }
}

environment "prod" {
  branch    = "main"
  roots     = ["environments/prod"]
  var_files = ["prod.tfvars"]
  after     = ["staging"]
  pass_env  = ["TF_VAR_database_password"]

  approval { count = 0 }
}
