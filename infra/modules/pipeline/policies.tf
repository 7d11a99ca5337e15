resource "aws_sqs_queue_policy" "from_rules" {
  for_each = { events = aws_sqs_queue.events, undelivered = aws_sqs_queue.undelivered }

  queue_url = each.value.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "RulesSend"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = each.value.arn
        # Without it, anybody's rule in any account could fill the queue.
        Condition = { ArnEquals = { "aws:SourceArn" = values(aws_cloudwatch_event_rule.cloudtrail)[*].arn } }
      },
      merge(local.tls_only, { Resource = each.value.arn }),
    ]
  })
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [merge(local.tls_only, { Resource = aws_sqs_queue.dead_letters.arn })]
  })

  # SQS would take both at once; moto, which the tests apply to, forgets the policy when another attribute follows it.
  depends_on = [aws_sqs_queue_redrive_allow_policy.dead_letters]
}

locals {
  tls_only = {
    Sid       = "TlsOnly"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }
}
