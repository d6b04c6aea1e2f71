# Where

variable "account_id" {
  description = "Id of the AWS account that everything lies in: 12 digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id is 12 digits."
  }
}

variable "region" {
  description = "Region of the bucket and the keys. It must be the provider's."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is written like eu-west-1."
  }
}

variable "partition" {
  description = "Partition of the account: aws, aws-cn or aws-us-gov."
  type        = string
  default     = "aws"

  validation {
    condition     = contains(["aws", "aws-cn", "aws-us-gov"], var.partition)
    error_message = "The partition is aws, aws-cn or aws-us-gov."
  }
}

# Names

variable "bucket" {
  description = "Name of the bucket. Nothing but tfops may lie in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "Use 3 to 63 lower-case letters, digits and hyphens. Dots break TLS."
  }
}

variable "prefix" {
  description = "Where the store lies in the bucket. Managed states lie beside it, below the same name with -state."
  type        = string
  default     = "tfops"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$", var.prefix))
    error_message = "Use letters, digits, dots, underscores and hyphens, with single slashes between them; a * would open the whole bucket."
  }
}

variable "name" {
  description = "What the names of the roles and the keys begin with."
  type        = string
  default     = "tfops"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,39}$", var.name)) && !startswith(lower(var.name), "aws")
    error_message = "Use at most 40 letters, digits and hyphens, beginning with a letter, and not with aws."
  }
}

variable "tags" {
  description = "Tags for everything that can have some."
  type        = map(string)
  default     = {}
}

# Who may become the runner

variable "github" {
  description = "Pipelines on GitHub that may become the runner. `subjects` are exact. Without `provider_arn` the account's OIDC provider is made here."
  type = object({
    subjects     = list(string)
    audience     = optional(string, "sts.amazonaws.com")
    issuer       = optional(string, "token.actions.githubusercontent.com")
    provider_arn = optional(string)
    thumbprints  = optional(list(string))
  })
  default = null

  validation {
    condition     = var.github != null || var.gitlab != null || length(var.trusted_role_arns) > 0
    error_message = "Nobody could become the runner: set github, gitlab or trusted_role_arns."
  }

  validation {
    condition     = var.github == null ? true : length(var.github.subjects) > 0
    error_message = "Name at least one subject: a trust without one lets every repository of GitHub in."
  }

  validation {
    condition = var.github == null ? true : alltrue([
      for subject in var.github.subjects :
      can(regex("^repo:[A-Za-z0-9_.-]+(@[0-9]+)?/[A-Za-z0-9_.-]+(@[0-9]+)?:(ref:refs/heads/[^*?:$\\s]+|environment:[^*?:$]+)$", subject))
    ])
    error_message = "Write each subject in full, like repo:acme/infra:ref:refs/heads/main or repo:acme/infra:environment:prod. Wildcards, tags and pull requests are refused: they would let unreviewed code sign and apply."
  }

  validation {
    condition     = var.github == null ? true : can(regex("^[^*?$\\s]+$", var.github.audience))
    error_message = "The audience is one word without wildcards, as the pipeline asks for it."
  }

  validation {
    condition     = var.github == null ? true : can(regex("^[a-z0-9][a-z0-9.-]*[.][a-z0-9-]+(/[A-Za-z0-9_.-]+)*$", var.github.issuer))
    error_message = "The issuer is a host, and a path if it has one, without https://."
  }

  validation {
    condition = try(var.github.provider_arn, null) == null ? true : (
      var.github.provider_arn == "arn:${var.partition}:iam::${var.account_id}:oidc-provider/${var.github.issuer}"
    )
    error_message = "The provider must be of this account and of this issuer: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER."
  }

  validation {
    condition = try(var.github.thumbprints, null) == null ? true : (
      length(var.github.thumbprints) > 0 && alltrue([for each in var.github.thumbprints : can(regex("^[0-9a-f]{40}$", each))])
    )
    error_message = "A thumbprint is 40 lower-case hexadecimal digits; leave the list out rather than empty."
  }
}

variable "gitlab" {
  description = "Pipelines on GitLab that may become the runner. `subjects` are exact. Without `provider_arn` the account's OIDC provider is made here."
  type = object({
    subjects     = list(string)
    audience     = optional(string, "sts.amazonaws.com")
    issuer       = optional(string, "gitlab.com")
    provider_arn = optional(string)
    thumbprints  = optional(list(string))
  })
  default = null

  validation {
    condition     = var.gitlab == null ? true : length(var.gitlab.subjects) > 0
    error_message = "Name at least one subject: a trust without one lets every project of that GitLab in."
  }

  validation {
    condition = var.gitlab == null ? true : alltrue([
      for subject in var.gitlab.subjects :
      can(regex("^project_path:[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+:ref_type:branch:ref:[^*?:$\\s]+$", subject))
    ])
    error_message = "Write each subject in full, like project_path:acme/infra:ref_type:branch:ref:main. Wildcards and tags are refused: they would let unreviewed code sign and apply."
  }

  validation {
    condition     = var.gitlab == null ? true : can(regex("^[^*?$\\s]+$", var.gitlab.audience))
    error_message = "The audience is one word without wildcards, as the pipeline's id_tokens has it."
  }

  validation {
    condition     = var.gitlab == null ? true : can(regex("^[a-z0-9][a-z0-9.-]*[.][a-z0-9-]+(/[A-Za-z0-9_.-]+)*$", var.gitlab.issuer))
    error_message = "The issuer is a host, and a path if it has one, without https://."
  }

  validation {
    condition = try(var.gitlab.provider_arn, null) == null ? true : (
      var.gitlab.provider_arn == "arn:${var.partition}:iam::${var.account_id}:oidc-provider/${var.gitlab.issuer}"
    )
    error_message = "The provider must be of this account and of this issuer: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER."
  }

  validation {
    condition = try(var.gitlab.thumbprints, null) == null ? true : (
      length(var.gitlab.thumbprints) > 0 && alltrue([for each in var.gitlab.thumbprints : can(regex("^[0-9a-f]{40}$", each))])
    )
    error_message = "A thumbprint is 40 lower-case hexadecimal digits; leave the list out rather than empty."
  }
}

variable "trusted_role_arns" {
  description = "Roles that may become the runner without a pipeline: of a machine with a timer, of a person who runs `tfops init`."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for arn in var.trusted_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Name roles in full, like arn:aws:iam::111122223333:role/operator: no wildcards, no users, no whole accounts."
  }

  validation {
    condition     = length(setintersection(var.trusted_role_arns, [local.plan_role_arn, local.apply_role_arn])) == 0
    error_message = "Terraform's own roles must not become the runner: they could sign what they plan."
  }
}

variable "runner_session_hours" {
  description = "How long one session of the runner may last: 1 to 12 hours."
  type        = number
  default     = 1

  validation {
    condition     = contains(range(1, 13), var.runner_session_hours)
    error_message = "A session lasts 1 to 12 whole hours."
  }
}

# What Terraform may do

variable "plan_policies" {
  description = "Managed policies of the plan role: a name of your choice and an ARN each. It should only read. There is no default: what may be read is yours to say."
  type        = map(string)

  validation {
    condition = alltrue([
      for arn in values(var.plan_policies) : can(regex("^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Name managed policies in full, like arn:aws:iam::aws:policy/ReadOnlyAccess."
  }

  validation {
    condition = alltrue([
      for arn in values(var.plan_policies) : !can(regex(":policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess)$", arn))
    ])
    error_message = "A plan must not be able to change anything: it runs before anybody approved."
  }
}

variable "apply_policies" {
  description = "Managed policies of the apply role: a name of your choice and an ARN each. There is no default: what may be changed is yours to say."
  type        = map(string)

  validation {
    condition = alltrue([
      for arn in values(var.apply_policies) : can(regex("^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Name managed policies in full, like arn:aws:iam::111122223333:policy/deploy."
  }
}

# Who may read

variable "reviewer_arns" {
  description = "Roles and users of this account whose S3 reads the data key decrypts. Attach `reviewer_policy` to them as well."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for arn in var.reviewer_arns :
      startswith(arn, "arn:${var.partition}:iam::${var.account_id}:") && can(regex(":(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Name roles and users of this account in full: no wildcards, and not the whole account."
  }
}

# How long things are kept

variable "raw_plan_days" {
  description = "After how many days raw plan files go: objects with the tag tfops=raw-plan. They hold secrets in clear."
  type        = number
  default     = 7

  validation {
    condition     = contains(range(1, 366), var.raw_plan_days)
    error_message = "Keep raw plans for 1 to 365 whole days."
  }
}

variable "noncurrent_days" {
  description = "After how many days older versions of objects go, among them the older states."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_days >= 7 && var.noncurrent_days == floor(var.noncurrent_days)
    error_message = "Keep older versions for at least 7 whole days: they are the only backup of the states."
  }
}

variable "object_lock" {
  description = "Retention for every new version of an object: mode GOVERNANCE or COMPLIANCE, and days. Decide before the bucket is made; null is none."
  type = object({
    mode = string
    days = number
  })
  default = null

  validation {
    condition     = var.object_lock == null ? true : contains(["GOVERNANCE", "COMPLIANCE"], var.object_lock.mode)
    error_message = "The mode is GOVERNANCE or COMPLIANCE. Nobody, not even the account's root user, can undo COMPLIANCE."
  }

  validation {
    condition = var.object_lock == null ? true : (
      var.object_lock.days >= 1 && var.object_lock.days <= 3650 && var.object_lock.days == floor(var.object_lock.days)
    )
    error_message = "Retention lasts 1 to 3650 whole days."
  }
}
