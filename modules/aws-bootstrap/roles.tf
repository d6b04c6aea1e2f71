resource "aws_iam_openid_connect_provider" "forge" {
  for_each = { for name, forge in local.forges : name => forge if forge.make }

  url             = "https://${each.value.issuer}"
  client_id_list  = [each.value.audience]
  thumbprint_list = each.value.thumbprints
  tags            = var.tags
}

# What tfops itself uses: the store, the signing key, and the way to the two roles below.
resource "aws_iam_role" "runner" {
  name                 = local.runner_role_name
  description          = "tfops itself: its store, its signing key"
  assume_role_policy   = local.runner_trust
  max_session_duration = var.runner_session_hours * 3600
  tags                 = var.tags

  depends_on = [aws_iam_openid_connect_provider.forge]

  lifecycle {
    postcondition {
      condition     = self.arn == local.runner_role_arn
      error_message = "The role is ${self.arn}: set account_id and partition to those of the provider's account."
    }
  }
}

resource "aws_iam_role_policy" "runner" {
  name   = "tfops"
  role   = aws_iam_role.runner.id
  policy = local.runner_policy
}

# What Terraform gets while it plans.
resource "aws_iam_role" "plan" {
  name               = local.plan_role_name
  description        = "Terraform while tfops plans: reads"
  assume_role_policy = local.terraform_trust
  tags               = var.tags

  # A trust policy may only name roles that exist.
  depends_on = [aws_iam_role.runner]
}

resource "aws_iam_role_policy" "plan" {
  name   = "tfops"
  role   = aws_iam_role.plan.id
  policy = local.plan_policy
}

# The denials come first: no moment with your policies and without them.
resource "aws_iam_role_policy_attachment" "plan" {
  for_each = var.plan_policies

  role       = aws_iam_role.plan.name
  policy_arn = each.value

  depends_on = [aws_iam_role_policy.plan]
}

# What Terraform gets while it applies.
resource "aws_iam_role" "apply" {
  name               = local.apply_role_name
  description        = "Terraform while tfops applies: reads and writes"
  assume_role_policy = local.terraform_trust
  tags               = var.tags

  depends_on = [aws_iam_role.runner]
}

resource "aws_iam_role_policy" "apply" {
  name   = "tfops"
  role   = aws_iam_role.apply.id
  policy = local.apply_policy
}

resource "aws_iam_role_policy_attachment" "apply" {
  for_each = var.apply_policies

  role       = aws_iam_role.apply.name
  policy_arn = each.value

  depends_on = [aws_iam_role_policy.apply]
}
