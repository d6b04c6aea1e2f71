# Bucket, keys and roles for tfops in one AWS account. Applied once, by a person, before tfops runs for the first time.

terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.70"
    }
  }
}
