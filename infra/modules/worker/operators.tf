# For people: what `trailkeeper check`, `sweep`, `replay` and `dlq` call, and nothing else. It is attached to nobody. The queues are
# encrypted by SQS itself, so no right to a key is needed.
resource "aws_iam_policy" "operators" {
  name        = "${var.name}-operators"
  description = "For people who operate trailkeeper: its commands check, sweep, replay and dlq"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid    = "ReadDeadLetters"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        ]
        Resource = var.dead_letter_queue.arn
      },
      {
        # Whoever may send can forge events: see docs/security.md.
        Sid      = "SendEvents"
        Effect   = "Allow"
        Action   = ["sqs:GetQueueAttributes", "sqs:SendMessage"]
        Resource = var.queue.arn
      },
      {
        Sid    = "CheckStateTable"
        Effect = "Allow"
        Action = [
          "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive",
          "dynamodb:UpdateItem", # The check tries a write whose condition never holds; denied, it would say failed.
        ]
        Resource = var.state_table.arn
      },
      # In every mode: a trail may have to be started by hand.
    ], local.read_records, local.sweep_trails, local.look_at_trails, local.restart_trails, local.act_in_member_accounts, local.list_accounts)
  })
}
