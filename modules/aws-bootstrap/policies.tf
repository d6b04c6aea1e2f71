# Who may do what. Plain values without any provider, so that the tests can evaluate them.

locals {
  # What proves something is written once: S3 itself refuses the runner a second write. Most of it stays for good.
  written_once = concat(local.never_deleted, [
    for name in ["plan.tfplan", "plan.json", "plan.txt"] : "${local.store_objects}/*/plans/*/${name}"
  ])
  never_deleted = concat(
    [for name in ["store.json", "digest-key", "audit/*", "*/records/*"] : "${local.store_objects}/${name}"],
    [
      for name in ["statement.json", "claim.json", "result.json"] : "${local.store_objects}/*/plans/*/${name}"
    ],
  )
  # Secrets in clear: the digest key, raw plans, and states that Terraform could not save.
  secrets = [
    for name in ["digest-key", "*/plans/*/plan.tfplan", "*/errored/*", "*/set-aside/*"] :
    "${local.store_objects}/${name}"
  ]
  redacted = [
    for name in ["plan.json", "plan.txt", "statement.json"] : "${local.store_objects}/*/plans/*/${name}"
  ]
  role_arns = [local.runner_role_arn, local.plan_role_arn, local.apply_role_arn]
}

# The bucket

locals {
  bucket_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        # Who says nothing gets the bucket's default, the data key. Who names an encryption must name that key.
        Sid       = "NoOtherKey"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket_arn}/*"
        Condition = {
          Null = { "s3:x-amz-server-side-encryption" = "false" }
          StringNotEquals = {
            "s3:x-amz-server-side-encryption-aws-kms-key-id" = [
              local.data_key_arn, local.data_key_alias_arn, local.data_key_alias,
            ]
          }
        }
      },
      {
        Sid       = "NoKeyOfTheClient"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket_arn}/*"
        Condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
      },
      {
        Sid       = "SecretsForTheRunner"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = local.secrets
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = local.runner_role_arn } }
      },
      {
        Sid       = "StatesForTheRoles"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = "${local.state_objects}/*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = local.role_arns } }
      },
    ]
  })
}

# The keys. Their policies alone say who may use them: the account's IAM policies can administer them, not use them.

locals {
  key_administration = {
    Sid       = "Administration"
    Effect    = "Allow"
    Principal = { AWS = "${local.iam}:root" }
    Action = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey",
      "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListResourceTags",
      "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
      "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    Resource = "*"
  }

  data_key_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_administration,
      {
        Sid       = "WriteThroughS3"
        Effect    = "Allow"
        Principal = { AWS = [local.runner_role_arn, local.apply_role_arn] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "kms:ViaService" = local.s3_service } }
      },
      {
        Sid       = "ReadThroughS3"
        Effect    = "Allow"
        Principal = { AWS = concat([local.plan_role_arn], var.reviewer_arns) }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = { StringEquals = { "kms:ViaService" = local.s3_service } }
      },
    ]
  })

  signing_key_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_administration,
      {
        Sid       = "OnlyTheRunnerSigns"
        Effect    = "Allow"
        Principal = { AWS = local.runner_role_arn }
        Action    = "kms:Sign"
        Resource  = "*"
        Condition = { StringEquals = { "kms:SigningAlgorithm" = "ECDSA_SHA_256" } }
      },
      {
        # The public key is no secret, and somebody has to write it into the repository.
        Sid       = "PublicKey"
        Effect    = "Allow"
        Principal = { AWS = [local.runner_role_arn, "${local.iam}:root"] }
        Action    = "kms:GetPublicKey"
        Resource  = "*"
      },
    ]
  })
}

# The roles

locals {
  runner_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Store"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${local.store_objects}/*"
      },
      {
        # Only raw plans: whatever has this tag is removed after some days.
        Sid      = "TagRawPlans"
        Effect   = "Allow"
        Action   = "s3:PutObjectTagging"
        Resource = "${local.store_objects}/*/plans/*/plan.tfplan"
        Condition = {
          StringEquals                = { "s3:RequestObjectTag/tfops" = "raw-plan" }
          "ForAllValues:StringEquals" = { "s3:RequestObjectTagKeys" = ["tfops"] }
        }
      },
      {
        # The whole bucket is tfops' own. With this, S3 says of a missing object that it is missing, not forbidden.
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketVersions"]
        Resource = local.bucket_arn
      },
      {
        Sid      = "ReadStates"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "${local.state_objects}/*"
      },
      {
        Sid      = "LockStates"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject"]
        Resource = "${local.state_objects}/*.tflock"
      },
      {
        Sid      = "BecomeTerraform"
        Effect   = "Allow"
        Action   = ["sts:AssumeRole", "sts:TagSession"]
        Resource = [local.plan_role_arn, local.apply_role_arn]
      },
      {
        Sid      = "RecordsAreWrittenOnce"
        Effect   = "Deny"
        Action   = "s3:PutObject"
        Resource = local.written_once
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          # False for the parts of an upload in parts: they take no condition, its completion does.
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      },
      {
        Sid      = "RecordsStay"
        Effect   = "Deny"
        Action   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
        Resource = local.never_deleted
      },
    ]
  })

  # Whatever else Terraform's roles are given: not the store, not other names in the bucket, not what tfops stands on.
  out_of_reach = [
    {
      Sid      = "NotTheStore"
      Effect   = "Deny"
      Action   = "s3:*"
      Resource = "${local.store_objects}/*"
    },
    {
      Sid       = "ListStatesOnly"
      Effect    = "Deny"
      Action    = ["s3:ListBucket", "s3:ListBucketVersions"]
      Resource  = local.bucket_arn
      Condition = { StringNotLike = { "s3:prefix" = "${local.state_prefix}/*" } }
    },
    {
      Sid    = "NotTfopsItself"
      Effect = "Deny"
      NotAction = [
        "iam:Get*", "iam:List*", "s3:Get*", "s3:List*",
        "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:Get*", "kms:List*",
      ]
      Resource = concat(
        [local.bucket_arn, local.data_key_arn, local.signing_key_arn],
        local.role_arns,
        [for forge in local.forges : forge.arn],
      )
    },
  ]

  read_states = [
    {
      Sid      = "ReadStates"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = "${local.state_objects}/*"
    },
    {
      Sid       = "ListStates"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.bucket_arn
      Condition = { StringLike = { "s3:prefix" = "${local.state_prefix}/*" } }
    },
  ]

  plan_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.read_states, local.out_of_reach, [
      {
        Sid       = "StatesAreForReading"
        Effect    = "Deny"
        NotAction = ["s3:Get*", "s3:List*"]
        Resource  = "${local.state_objects}/*"
      },
    ])
  })

  apply_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.read_states, local.out_of_reach, [
      {
        Sid      = "WriteStates"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject"]
        Resource = "${local.state_objects}/*"
      },
      {
        # A deleted state is a marker on top of its versions. The versions stay.
        Sid       = "OlderStatesStay"
        Effect    = "Deny"
        NotAction = ["s3:Get*", "s3:List*", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource  = "${local.state_objects}/*"
      },
    ])
  })

  # Attached to nobody: an output for the people who review.
  reviewer_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadRedactedPlans"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = local.redacted
      },
      {
        # Names only. A plan is known to people by the first 12 digits of its id.
        Sid       = "FindPlans"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = local.bucket_arn
        Condition = { StringLike = { "s3:prefix" = "${var.prefix}/*" } }
      },
    ]
  })
}
