# What to write into tfops.hcl.

locals {
  configuration = <<-EOT
    store "s3" {
      bucket     = "${var.bucket}"
      prefix     = "${var.prefix}"
      region     = "${var.region}"
      kms_key_id = "${local.data_key_arn}"
    }

    signing {
      key = "awskms:${local.signing_key_alias}"
    }

    trust {
      runner "ci" {
        public_key = "keys/ci.pub"
      }
    }

    environment "prod" {
      branch = "main"
      roots  = ["environments/prod/*"]

      aws {
        plan_role  = "${local.plan_role_arn}"
        apply_role = "${local.apply_role_arn}"
      }
    }
  EOT
}
