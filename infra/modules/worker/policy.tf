# The policy, if there is one, where ECS reads it when a task starts: the smallest of three places that takes the text.

locals {
  # In bytes, as AWS counts; length() counts characters. Base64 has four for each three bytes, padded with =.
  policy_base64 = var.policy == null ? "" : base64encode(var.policy)
  policy_bytes  = length(local.policy_base64) / 4 * 3 - length(regexall("=", local.policy_base64))

  policy_in_parameter = var.policy != null && local.policy_bytes <= 8192
  policy_in_secret    = var.policy != null && local.policy_bytes > 8192

  # The version of the secret, so that a revision of the task definition keeps the text that it came with. ECS takes no version
  # of a parameter.
  policy_value_from = concat(
    aws_ssm_parameter.policy[*].arn,
    [for version in aws_secretsmanager_secret_version.policy : "${version.arn}:::${version.version_id}"],
  )

  read_policy = concat(
    [for parameter in aws_ssm_parameter.policy : {
      Sid      = "ReadPolicy"
      Effect   = "Allow"
      Action   = "ssm:GetParameters"
      Resource = parameter.arn
    }],
    [for secret in aws_secretsmanager_secret.policy : {
      Sid      = "ReadPolicy"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = secret.arn # Of every version: IAM knows none.
    }],
  )
}

resource "aws_ssm_parameter" "policy" {
  #checkov:skip=CKV2_AWS_34:The policy is no secret, and a plan should show what changes in it.

  count = local.policy_in_parameter ? 1 : 0

  name           = "/${var.name}/policy"
  description    = "trailkeeper's policy"
  type           = "String"
  tier           = local.policy_bytes <= 4096 ? "Standard" : "Advanced"
  insecure_value = var.policy
}

# For its size alone.
resource "aws_secretsmanager_secret" "policy" {
  #checkov:skip=CKV_AWS_149:The policy is no secret; Secrets Manager encrypts with a key of its own.
  #checkov:skip=CKV2_AWS_57:The policy is no secret: there is nothing to rotate.

  count = local.policy_in_secret ? 1 : 0

  name        = "${var.name}-policy"
  description = "trailkeeper's policy"
  # Otherwise its name is taken for a month after a shorter policy, which is a parameter.
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "policy" {
  count = length(aws_secretsmanager_secret.policy)

  secret_id     = aws_secretsmanager_secret.policy[0].id
  secret_string = var.policy
}
