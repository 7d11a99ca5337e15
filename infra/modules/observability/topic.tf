# Not encrypted: CloudWatch may not use alias/aws/sns, whose key policy cannot be changed, and would tell nobody. An
# alarm's text holds nothing secret. A topic under a key of your own comes in as alarm_topic_arn.
resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:See above: encrypted with a key of SNS, it would be silent.

  count = var.alarm_topic_arn == null ? 1 : 0

  name = "${var.name}-alarms"
}

data "aws_caller_identity" "here" {}

resource "aws_sns_topic_policy" "alarms" {
  count = length(aws_sns_topic.alarms)

  arn = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsPublish"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms[0].arn
      # Alarms of this account alone.
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.here.account_id } }
    }]
  })
}
